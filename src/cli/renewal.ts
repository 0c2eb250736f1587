import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { staleFailure } from '../core/served.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { problems } from '../metrics/health.ts';
import type { Clock } from '../sys/clock.ts';
import type { ControlClient } from './control-client.ts';

/** The progress of one renewal. */
export interface Renewal {
  readonly name: string;
  /** 'following': the new certificate is stored; its hooks and the check of the served certificate are still running. */
  readonly result: 'renewed' | 'following' | 'waiting';
  readonly state: CertificateStatus['state'];
  readonly serial?: string;
  readonly notAfter?: Instant;
  /** Why it is not renewed yet. */
  readonly reasons: readonly string[];
  /** What to do about that; absent where the agent needs nothing but time. */
  readonly remedy?: string;
  /** When the agent tries again after a failure. */
  readonly nextAttempt?: Instant;
  /** Failed hooks, and endpoints that do not serve the new certificate. */
  readonly failures: readonly Failure[];
}

export interface WaitOptions {
  readonly client: Pick<ControlClient, 'status'>;
  /** The certificates when the renewal was requested. */
  readonly before: readonly CertificateStatus[];
  readonly clock: Clock;
  /** Maximum wait in milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  /** Called with every change in the meantime. */
  readonly progress: (line: string) => void;
}

/**
 * Waits until each certificate is renewed, fails until after the timeout, or the timeout has passed.
 * This only observes: the agent keeps trying either way.
 * @throws AgentError AGENT_UNREACHABLE if the agent is gone, ABORTED by the signal
 */
export async function waitForRenewals(options: WaitOptions): Promise<readonly Renewal[]> {
  const { client, before, clock, timeout, signal, progress } = options;
  const shown = new Map<string, string>();
  const end = clock.elapsed() + timeout;
  for (;;) {
    const status = await client.status();
    const renewals = before.flatMap((one) => renewalOf(one, status));
    for (const renewal of renewals) {
      const line = describe(renewal);
      if (shown.get(renewal.name) !== line) progress(`${renewal.name}: ${line}`);
      shown.set(renewal.name, line);
    }
    const rest = end - clock.elapsed();
    const done = renewals.every(
      ({ result, nextAttempt = status.now }) =>
        result === 'renewed' || nextAttempt - status.now > rest,
    );
    if (done || rest <= 0) return renewals;
    await clock.sleep(interval, signal);
  }
}

/** Short, because the agent answers from memory. */
const interval = second / 4;

/** Empty if a reload has removed the certificate from the configuration. */
function renewalOf({ name, current: old }: CertificateStatus, status: AgentStatus): Renewal[] {
  const found = status.certificates.find((one) => one.name === name);
  if (found === undefined) return [];
  const { state, current, renewalAt, nextAttempt } = found;
  const renewed =
    renewalAt === undefined && current !== undefined && current.serial !== old?.serial;
  const result = renewed && found.following === true ? 'following' : 'renewed';
  return [
    {
      name,
      result: renewed ? result : 'waiting',
      state,
      ...(current !== undefined && { serial: current.serial, notAfter: current.notAfter }),
      reasons: renewed ? [] : problems(found, status.now),
      ...(!renewed && remedyOf(found)),
      ...(!renewed && nextAttempt !== undefined && { nextAttempt }),
      failures: renewed ? failuresOf(found) : [],
    },
  ];
}

function remedyOf({ state, csr, lastFailure }: CertificateStatus): { readonly remedy?: string } {
  if (state === 'pending-approval' && csr !== undefined) {
    return { remedy: `Approve the CSR: kubectl certificate approve ${csr.name}` };
  }
  return lastFailure?.remedy === undefined ? {} : { remedy: lastFailure.remedy };
}

function failuresOf({ hooks = [], served, current }: CertificateStatus): Failure[] {
  const failed = hooks.flatMap(({ failure }) => failure ?? []);
  const others = (served?.endpoints ?? []).filter(({ state }) => state !== 'current');
  if (others.length === 0) return failed;
  return [...failed, staleFailure(current?.serial ?? '', others)];
}

function describe({ result, state, reasons }: Renewal): string {
  if (result === 'renewed') return 'renewed';
  if (result === 'following') return 'stored; running its hooks';
  // A countdown would change four times a second.
  const lasting = reasons.filter((reason) => !reason.startsWith('next attempt in '));
  return [state.replaceAll('-', ' '), ...lasting].join('; ');
}
