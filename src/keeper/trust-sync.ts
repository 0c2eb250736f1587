import * as v from 'valibot';
import { parseCaPin } from '../core/ca-pin.ts';
import type { AgentConfig } from '../core/config.ts';
import { errorCodes } from '../core/errors.ts';
import { minute } from '../core/instant.ts';
import type { TrustReport } from '../core/trust-report.ts';
import { trustOutcomes } from '../core/trust-report.ts';
import {
  trustPlaceKinds,
  trustReaderStates,
  trustRefusals,
  trustSourceKinds,
  trustStages,
} from '../core/trust.ts';
import type { Clock } from '../sys/clock.ts';
import { documentTime as time, runUnattended } from './unattended-command.ts';

/** What the command has to know of the configuration of the agent, which flags can change. */
export type TrustSyncConfig = Pick<
  AgentConfig,
  | 'file'
  | 'nodeName'
  | 'kubeconfig'
  | 'bootstrapKubeconfig'
  | 'certificateDirectory'
  | 'stateDirectory'
  | 'kubelet'
>;

export interface TrustSyncOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly config: TrustSyncConfig;
  /** Do not use what earlier runs have found out about the cluster. */
  readonly refresh: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type TrustSync =
  | { readonly kind: 'complete'; readonly report: TrustReport }
  /** The reason follows the name of the command in a sentence. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Runs `nodecertd trust sync --unattended` once. The command decides whether to change anything. */
export async function syncTrust(options: TrustSyncOptions): Promise<TrustSync> {
  const command = {
    ...options,
    args: ['trust', 'sync', '--unattended', '--output', 'json', ...flagsOf(options)],
    // Three sources of up to a minute each, a restart of the kubelet, and the check that it runs.
    timeoutMs: 15 * minute,
  };
  const end = await runUnattended(command, documentSchema);
  if (end.kind === 'failed') return end;
  const { kind: _, ...report } = end.document;
  return { kind: 'complete', report };
}

function flagsOf({ config, refresh }: TrustSyncOptions): string[] {
  const { kubelet } = config;
  const flags = {
    '--config': config.file,
    '--hostname-override': config.nodeName,
    '--kubeconfig': config.kubeconfig,
    '--bootstrap-kubeconfig': config.bootstrapKubeconfig,
    '--cert-dir': config.certificateDirectory,
    '--state-dir': config.stateDirectory,
    '--kubelet-config': kubelet.configFile,
    '--kubelet-config-dir': kubelet.configDirectory,
  };
  const given = Object.entries(flags).flatMap(([flag, value]) =>
    value === undefined ? [] : [flag, value],
  );
  return refresh ? ['--refresh', ...given] : given;
}

const pin = v.pipe(
  v.string(),
  v.transform(parseCaPin),
  v.check((parsed) => parsed !== undefined),
  v.transform((parsed) => parsed ?? ('sha256:' as const)),
);
const failure = v.object({
  code: v.picklist(errorCodes),
  message: v.string(),
  remedy: v.exactOptional(v.string()),
});
const fingerprints = v.array(v.string());

/** Newer versions of the command may print more. */
const documentSchema = v.object({
  kind: v.literal('TrustReport'),
  outcome: v.picklist(trustOutcomes),
  stage: v.picklist(trustStages),
  authorities: v.array(
    v.object({
      fingerprint: v.string(),
      pin,
      subject: v.string(),
      notAfter: time,
      isHeld: v.boolean(),
      isWanted: v.boolean(),
      missingSince: v.exactOptional(time),
      keptBecause: v.exactOptional(v.array(v.string())),
    }),
  ),
  places: v.array(
    v.object({
      kind: v.picklist(trustPlaceKinds),
      path: v.string(),
      file: v.exactOptional(v.string()),
      isKept: v.boolean(),
      authorities: fingerprints,
      problem: v.exactOptional(v.string()),
    }),
  ),
  sources: v.array(
    v.object({
      kind: v.picklist(trustSourceKinds),
      name: v.string(),
      outcome: v.picklist(['read', 'absent', 'failed']),
      authorities: fingerprints,
      reason: v.exactOptional(v.string()),
    }),
  ),
  leaves: v.array(
    v.object({
      name: v.string(),
      path: v.string(),
      issuer: v.exactOptional(v.string()),
      isBehind: v.boolean(),
    }),
  ),
  issuer: v.exactOptional(v.string()),
  reader: v.object({
    state: v.picklist(trustReaderStates),
    since: v.exactOptional(time),
    unread: v.exactOptional(v.array(v.string())),
    restartAt: v.exactOptional(time),
  }),
  findings: v.array(
    v.object({ id: v.string(), message: v.string(), remedy: v.exactOptional(v.string()) }),
  ),
  refusal: v.exactOptional(
    v.object({
      ...failure.entries,
      code: v.literal('TRUST_REFUSED'),
      reason: v.picklist(trustRefusals),
    }),
  ),
  failure: v.exactOptional(failure),
  changedAt: v.exactOptional(time),
  retryAfterSeconds: v.exactOptional(v.pipe(v.number(), v.minValue(0))),
});
