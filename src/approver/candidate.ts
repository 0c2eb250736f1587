import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { LeaseRecord } from '../kube/lease-client.ts';

/** In milliseconds. The defaults of client-go, which kube-controller-manager also uses. */
export const electionTiming = {
  lease: 15 * second,
  renewDeadline: 10 * second,
  retry: 2 * second,
  jitterFactor: 1.2,
} as const;

/** Both clocks of the machine. Only the monotonic one decides; the other is what a Lease contains. */
export interface Times {
  /** Milliseconds on a monotonic clock. */
  readonly elapsed: number;
  readonly now: Instant;
}

/**
 * What one replica knows about the Lease, and what it may write into it. The rules are those of
 * client-go (tools/leaderelection/leaderelection.go): a candidate counts from the moment at which
 * it saw the last change of the Lease, so the clock of the leader does not matter.
 */
export class Candidate {
  readonly #identity: string;
  #observed: LeaseRecord | undefined;
  #observedAt = 0;
  /** The monotonic time at which the last accepted renewal was sent. */
  #renewedAt: number | undefined;

  constructor(identity: string) {
    this.#identity = identity;
  }

  /** The holder as last seen; undefined if there is none. */
  get holder(): string | undefined {
    return this.#observed?.holder;
  }

  /** The monotonic time at which leadership ends without another renewal. Undefined without leadership. */
  get deadline(): number | undefined {
    if (this.#renewedAt === undefined || this.holder !== this.#identity) return undefined;
    return this.#renewedAt + electionTiming.renewDeadline;
  }

  /** True until the renewal deadline. Ask before each write that only the leader may make. */
  isLeading(elapsed: number): boolean {
    return this.deadline !== undefined && elapsed < this.deadline;
  }

  /** What the holder may write without reading the Lease first; undefined if it has to read it. */
  renewal(times: Times): LeaseRecord | undefined {
    const observed = this.#observed;
    if (observed === undefined || !this.#isHolder || !this.#isValid(times.elapsed)) {
      return undefined;
    }
    return this.#record(times, observed);
  }

  /** What to write after reading the Lease; undefined while another replica holds it. */
  claim(found: LeaseRecord, times: Times): LeaseRecord | undefined {
    if (JSON.stringify(found) !== JSON.stringify(this.#observed)) {
      this.#observed = found;
      this.#observedAt = times.elapsed;
    }
    if (found.holder !== undefined && this.#isValid(times.elapsed) && !this.#isHolder)
      return undefined;
    return this.#record(times, found);
  }

  /** What to write if there is no Lease. */
  first(times: Times): LeaseRecord {
    return this.#record(times, undefined);
  }

  /** What to write on shutdown, so that another replica leads at once; undefined for a replica that does not lead. */
  release(now: Instant): LeaseRecord | undefined {
    if (this.#observed === undefined || !this.#isHolder) return undefined;
    const { transitions } = this.#observed;
    return { durationSeconds: 1, acquireTime: now, renewTime: now, transitions };
  }

  /** The server has stored this record, which was sent at `sentAt`. */
  stored(record: LeaseRecord, { sentAt, elapsed }: { sentAt: number; elapsed: number }): void {
    this.#observed = record;
    this.#observedAt = elapsed;
    this.#renewedAt = record.holder === this.#identity ? sentAt : undefined;
  }

  get #isHolder(): boolean {
    return this.holder === this.#identity;
  }

  #isValid(elapsed: number): boolean {
    const { durationSeconds = 0 } = this.#observed ?? {};
    return this.#observedAt + durationSeconds * second > elapsed;
  }

  #record({ now }: Times, previous: LeaseRecord | undefined): LeaseRecord {
    const isRenewal = previous?.holder === this.#identity;
    return {
      holder: this.#identity,
      durationSeconds: electionTiming.lease / second,
      acquireTime: isRenewal ? previous.acquireTime : now,
      renewTime: now,
      transitions: previous === undefined ? 0 : previous.transitions + Number(!isRenewal),
    };
  }
}

/** Milliseconds until a candidate tries again: up to 4.4 s, so that candidates do not compete at the same moment. */
export function candidateDelay(random: number): number {
  return electionTiming.retry * (1 + electionTiming.jitterFactor * random);
}
