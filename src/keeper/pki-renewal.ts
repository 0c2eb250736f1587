import * as v from 'valibot';
import type { PkiConfig } from '../core/config.ts';
import { errorCodes } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { minute, second } from '../core/instant.ts';
import { unattendedOutcomes, withoutLeaseReasons } from '../core/unattended-renewal.ts';
import type { Clock } from '../sys/clock.ts';
import { runOwnCommand } from './own-command.ts';

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
  const end = await runOwnCommand({
    ...options,
    args: renewalArguments(options.config),
    // 3 means waiting, and 1 means refused or failed.
    resultCodes: new Set([0, 1, 3]),
    // Ten certificates with a check of up to 65 s each, and two restarts of up to 2 min.
    timeoutMs: 30 * minute,
    // The command restores what it has not finished. systemd kills all processes after 30 s.
    graceMs: 20 * second,
    outputLimit: 1,
  });
  if (end.kind === 'failed') return end;
  const result = parseDocument(end.text);
  if (result !== undefined) return { kind: 'complete', result };
  return { kind: 'failed', reason: 'printed an unexpected document' };
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

function parseDocument(text: string): RenewalResult | undefined {
  try {
    const { success, output } = v.safeParse(documentSchema, JSON.parse(text));
    return success ? output : undefined;
  } catch {
    return undefined;
  }
}

const time = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text): Instant => Date.parse(text)),
);
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
