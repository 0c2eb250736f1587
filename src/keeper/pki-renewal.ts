import * as v from 'valibot';
import type { PkiConfig } from '../core/config.ts';
import { errorCodes } from '../core/errors.ts';
import { minute } from '../core/instant.ts';
import { unattendedOutcomes, withoutLeaseReasons } from '../core/unattended-renewal.ts';
import type { Clock } from '../sys/clock.ts';
import { documentTime as time, runUnattended } from './unattended-command.ts';

export interface PkiRenewalOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly config: PkiConfig;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What `certs renew --unattended` did, with its times as instants. */
export type RenewalResult = v.InferOutput<typeof documentSchema>;

export type PkiRenewal =
  | { readonly kind: 'complete'; readonly result: RenewalResult }
  /** The reason follows the name of the command in a sentence. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Runs `nodecertd certs renew --unattended` once. The command decides whether anything is due. */
export async function renewUnattended(options: PkiRenewalOptions): Promise<PkiRenewal> {
  const command = {
    ...options,
    args: renewalArguments(options.config),
    // Ten certificates with a check of up to 65 s each, and two restarts of up to 2 min.
    timeoutMs: 30 * minute,
  };
  const end = await runUnattended(command, documentSchema);
  return end.kind === 'failed' ? end : { kind: 'complete', result: end.document };
}

function renewalArguments({ directory, rotationWindow, maintenanceWindow }: PkiConfig): string[] {
  const { from, to } = rotationWindow;
  const args = ['certs', 'renew', '--unattended', '--output', 'json'];
  args.push('--kubernetes-dir', directory, '--rotation', `${percentage(from)}-${percentage(to)}`);
  if (maintenanceWindow !== undefined) args.push('--window', maintenanceWindow);
  return args;
}

/** The configuration allows three decimals. */
function percentage(fraction: number): string {
  return `${Number((fraction * 100).toFixed(3))}%`;
}

const code = v.picklist(errorCodes);

/** Newer versions of the command may print more. */
const documentSchema = v.object({
  kind: v.literal('UnattendedRenewal'),
  outcome: v.picklist(unattendedOutcomes),
  reason: v.exactOptional(v.string()),
  code: v.exactOptional(code),
  remedy: v.exactOptional(v.string()),
  withoutLease: v.exactOptional(v.picklist(withoutLeaseReasons)),
  lastRenewals: v.array(v.object({ name: v.string(), serial: v.string(), notAfter: time })),
  restarted: v.array(v.object({ component: v.string(), seconds: v.number() })),
  problems: v.array(
    v.object({
      name: v.string(),
      code: v.exactOptional(code),
      reason: v.string(),
      remedy: v.exactOptional(v.string()),
    }),
  ),
  nextDue: v.exactOptional(v.object({ name: v.string(), time })),
  lastSuccess: v.exactOptional(time),
  retryAfterSeconds: v.exactOptional(v.pipe(v.number(), v.minValue(0))),
});
