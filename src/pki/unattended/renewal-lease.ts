import { randomUUID } from 'node:crypto';
import { clamp } from '../../core/clamp.ts';
import { AgentError, describeError, hasCode } from '../../core/errors.ts';
import { formatDuration, minute, second } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import { skewLeeway } from '../../core/schedule.ts';
import type { LeaseClient, LeaseName, StoredLease } from '../../kube/lease-client.ts';
import type { Clock } from '../../sys/clock.ts';
import type { ServerClock } from './server-clock.ts';

/** The Lease that a control-plane node holds while it renews certificates or does a step of a CA rollover. */
export const renewalLease: LeaseName = {
  namespace: 'kube-system',
  name: 'nodecertd-pki-renewal',
};

const duration = minute;
/** Time to notice that a renewal broke something, before the next node begins. */
export const pauseBetweenNodes = 10 * minute;
const renewInterval = 10 * second;
/** The holder stops before others may take the Lease. */
const renewDeadline = 45 * second;
/** Shorter than the interval of the holder, so that a poll follows each of its renewals. */
const pollInterval = 5 * second;

export interface LeaseEnvironment {
  readonly leases: LeaseClient;
  /** All nodes compare times of the API server, so a wrong clock of a node does not count. */
  readonly serverClock: ServerClock;
  readonly clock: Clock;
  /** Called when another holder is found, before it is known whether that holder still works. */
  readonly onHeld?: (reason: string) => void;
}

export interface Waiting {
  readonly kind: 'waiting';
  readonly reason: string;
  readonly retryAfterMs: number;
}

/** A Lease without a holder, or one that does not exist yet. */
export interface FreeLease {
  readonly kind: 'free';
  readonly stored: StoredLease | undefined;
}

/** A Lease whose last holder finished less than ten minutes ago. */
export interface PausedLease extends Omit<Waiting, 'kind'> {
  readonly kind: 'paused';
  readonly stored: StoredLease;
}

/**
 * Free if the last holder finished ten minutes ago, or stopped renewing the Lease without
 * releasing it. Like client-go, judges such a holder only by a Lease that stays unchanged for its
 * whole duration on the monotonic clock, never by the times in it.
 * @throws AgentError API_*, ABORTED
 */
export async function inspectLease(
  environment: LeaseEnvironment,
  signal: AbortSignal,
): Promise<FreeLease | PausedLease | Waiting> {
  const { leases, clock, onHeld } = environment;
  const first = await leases.get(signal);
  if (first === undefined) return { kind: 'free', stored: undefined };
  if (first.holder === undefined) return inspectReleased(environment, first, signal);
  onHeld?.(heldBy(first.holder).reason);
  const start = clock.elapsed();
  const expiry = clamp(first.durationSeconds * second, duration, 10 * duration);
  while (clock.elapsed() - start < expiry) {
    await clock.sleep(pollInterval, signal);
    const found = await leases.get(signal);
    if (found?.resourceVersion !== first.resourceVersion) return heldBy(first.holder);
  }
  return { kind: 'free', stored: first };
}

function heldBy(holder: string): Waiting {
  const reason = `${nodeOf(holder)} is changing its files, and holds the Lease ${lease}`;
  return { kind: 'waiting', reason, retryAfterMs: minute };
}

const lease = `${renewalLease.namespace}/${renewalLease.name}`;

/** The holder is the node and a random text, so that a process does not take over from another one on its node. */
function nodeOf(holder: string): string {
  return printable(holder.replace(/_[^_]*$/, ''), 80);
}

async function inspectReleased(
  { leases, serverClock }: LeaseEnvironment,
  stored: StoredLease,
  signal: AbortSignal,
): Promise<FreeLease | PausedLease | Waiting> {
  const now = serverClock.now();
  if (stored.renewTime > now + skewLeeway) {
    // Otherwise a release with a wrong time would block every node until that time.
    await leases.update({ ...stored, renewTime: now }, signal).catch(unlessConflict);
    const reason = `the Lease ${lease} had a time in the future, and was corrected`;
    return { kind: 'waiting', reason, retryAfterMs: minute };
  }
  const left = stored.renewTime + pauseBetweenNodes - now;
  if (left <= 0) return { kind: 'free', stored };
  const reason = `the last renewal on a control-plane node finished less than ${formatDuration(pauseBetweenNodes)} ago; the next one may begin in ${formatDuration(left)}`;
  return { kind: 'paused', stored, reason, retryAfterMs: left };
}

/** Another node has corrected or taken the Lease. */
function unlessConflict(error: unknown): void {
  if (!hasCode(error, 'API_CONFLICT', 'API_NOT_FOUND')) throw error;
}

/**
 * Takes a Lease without a holder, and renews it until it is disposed.
 * @returns waiting if another node was faster
 * @throws AgentError API_*, ABORTED
 */
export async function takeLease(
  environment: LeaseEnvironment,
  { stored }: FreeLease | PausedLease,
  { nodeName, signal }: { readonly nodeName: string; readonly signal: AbortSignal },
): Promise<HeldLease | Waiting> {
  const { leases, serverClock, clock } = environment;
  const takenAt = clock.elapsed();
  const now = serverClock.now();
  const record = {
    holder: `${nodeName}_${randomUUID()}`,
    durationSeconds: duration / second,
    acquireTime: now,
    renewTime: now,
    transitions: (stored?.transitions ?? -1) + 1,
  };
  try {
    const taken = await (stored === undefined
      ? leases.create(record, signal)
      : leases.update({ ...stored, ...record }, signal));
    return HeldLease.keep(environment, taken, takenAt);
  } catch (error) {
    if (!hasCode(error, 'API_CONFLICT', 'API_NOT_FOUND')) throw error;
    const reason = `another node took the Lease ${lease} first`;
    return { kind: 'waiting', reason, retryAfterMs: minute };
  }
}

/** A Lease that this process holds. Disposing it releases it, which starts the pause for the next node. */
export class HeldLease implements AsyncDisposable {
  readonly kind = 'held';
  readonly #environment: LeaseEnvironment;
  readonly #stop = new AbortController();
  #stored: StoredLease;
  /** On the monotonic clock. */
  #renewedAt: number;
  /** Why another node may hold the Lease now. */
  #lost: string | undefined;
  #failure = '';
  #loop: Promise<void> = Promise.resolve();

  private constructor(environment: LeaseEnvironment, stored: StoredLease, takenAt: number) {
    this.#environment = environment;
    this.#stored = stored;
    this.#renewedAt = takenAt;
  }

  static keep(environment: LeaseEnvironment, stored: StoredLease, takenAt: number): HeldLease {
    const held = new HeldLease(environment, stored, takenAt);
    held.#loop = held.#keepRenewing();
    return held;
  }

  /** @throws AgentError LEASE_LOST */
  requireHeld(): void {
    const age = this.#environment.clock.elapsed() - this.#renewedAt;
    if (this.#lost === undefined && age < renewDeadline) return;
    const reason = this.#lost ?? `no renewal for ${formatDuration(age)}: ${this.#failure}`;
    throw new AgentError('LEASE_LOST', `this node has lost the Lease ${lease}: ${reason}`);
  }

  /**
   * Renews the Lease now if the last renewals failed, for example because this node has restarted etcd
   * or kube-apiserver. Succeeds only if no other holder has taken the Lease in the meantime.
   * @throws AgentError LEASE_LOST
   */
  async ensureHeld(): Promise<void> {
    const age = this.#environment.clock.elapsed() - this.#renewedAt;
    if (this.#lost === undefined && age >= renewDeadline) {
      await this.#write(this.#stored, this.#stop.signal);
    }
    this.requireHeld();
  }

  /** If the release fails, the Lease expires by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    if (this.#lost !== undefined) return;
    const { holder: _, ...released } = this.#stored;
    await this.#write(released, new AbortController().signal);
  }

  async #keepRenewing(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#environment;
    try {
      while (this.#lost === undefined) {
        await clock.sleep(renewInterval, signal);
        await this.#write(this.#stored, signal);
      }
    } catch {
      return; // Disposed.
    }
  }

  /** Writes the record with the current time, and again if only its version was outdated. */
  async #write(record: StoredLease, signal: AbortSignal): Promise<void> {
    const { leases, clock, serverClock } = this.#environment;
    const at = clock.elapsed();
    try {
      this.#stored = await leases.update({ ...record, renewTime: serverClock.now() }, signal);
      this.#renewedAt = at;
    } catch (error) {
      signal.throwIfAborted();
      this.#failure = describeError(error);
      // A write whose response was lost also causes a conflict.
      if (!hasCode(error, 'API_CONFLICT', 'API_NOT_FOUND')) return;
      const found = await leases.get(signal).catch(() => this.#stored);
      if (found?.holder === this.#stored.holder && found !== undefined) {
        const isNew = found.resourceVersion !== this.#stored.resourceVersion;
        this.#stored = found;
        const { metadata, resourceVersion } = found;
        if (isNew) await this.#write({ ...record, metadata, resourceVersion }, signal);
      } else {
        this.#lost =
          found?.holder === undefined
            ? 'another client has deleted or released it'
            : `${nodeOf(found.holder)} holds it`;
      }
    }
  }
}
