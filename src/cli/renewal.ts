import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { staleFailure } from '../core/served.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { missing } from '../metrics/health.ts';
import type { Clock } from '../sys/clock.ts';
import type { ControlClient } from './control-client.ts';

/** How it stands with one certificate that was to be renewed. */
export interface Renewal {
  readonly name: string;
  /** 'following': the new pair is there, and its hooks and the look at what is served are under way. */
  readonly result: 'renewed' | 'following' | 'waiting';
  /** What the agent is doing about it. */
  readonly state: CertificateStatus['state'];
  readonly serial?: string;
  readonly notAfter?: Instant;
  /** What it waits for, and what can be done about that. */
  readonly reasons: readonly string[];
  /** What came of the hooks and of the look at what is served, where that is not as it should be. */
  readonly failures: readonly Failure[];
}

export interface WaitOptions {
  readonly client: Pick<ControlClient, 'status'>;
  /** What there was when the renewal was asked for. */
  readonly before: readonly CertificateStatus[];
  readonly clock: Clock;
  /** Milliseconds to wait at most. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  /** Told what changes meanwhile. */
  readonly progress: (line: string) => void;
}

/**
 * Waits until each certificate has been renewed, or the time is up. The agent goes on
 * either way: it is only looked at.
 * @throws AgentError AGENT_UNREACHABLE when it is gone, ABORTED by the signal
 */
export async function waitForRenewals(options: WaitOptions): Promise<readonly Renewal[]> {
  const { client, before, clock, timeout, signal, progress } = options;
  const told = new Map<string, string>();
  const end = clock.elapsed() + timeout;
  for (;;) {
    const status = await client.status();
    const renewals = before.flatMap((one) => renewalOf(one, status));
    for (const renewal of renewals) {
      const line = describe(renewal);
      if (told.get(renewal.name) !== line) progress(`${renewal.name}: ${line}`);
      told.set(renewal.name, line);
    }
    const done = renewals.every(({ result }) => result === 'renewed');
    if (done || clock.elapsed() >= end) return renewals;
    await clock.sleep(interval, signal);
  }
}

/** The agent answers from memory. */
const interval = second / 4;

/** None for a certificate that is no longer kept: a reload has taken it away. */
function renewalOf({ name, current: old }: CertificateStatus, status: AgentStatus): Renewal[] {
  const found = status.certificates.find((one) => one.name === name);
  if (found === undefined) return [];
  const { state, current, renewalAt } = found;
  const renewed =
    renewalAt === undefined && current !== undefined && current.serial !== old?.serial;
  const result = renewed && found.following === true ? 'following' : 'renewed';
  return [
    {
      name,
      result: renewed ? result : 'waiting',
      state,
      ...(current !== undefined && { serial: current.serial, notAfter: current.notAfter }),
      reasons: renewed ? [] : missing(found, status.now),
      failures: renewed ? failuresOf(found) : [],
    },
  ];
}

function failuresOf({ hooks = [], served, current }: CertificateStatus): Failure[] {
  const failed = hooks.flatMap(({ failure }) => failure ?? []);
  const others = (served?.endpoints ?? []).filter(({ state }) => state !== 'current');
  if (others.length === 0) return failed;
  return [...failed, staleFailure(current?.serial ?? '', others)];
}

function describe({ result, state, reasons }: Renewal): string {
  if (result === 'renewed') return 'renewed';
  if (result === 'following') return 'stored; its hooks are run';
  // A countdown would be news four times a second.
  const lasting = reasons.filter((reason) => !reason.startsWith('next attempt in '));
  return [state.replaceAll('-', ' '), ...lasting].join('; ');
}
