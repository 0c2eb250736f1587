import type { Failure } from '../core/errors.ts';
import { hasCode, toFailure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { aborted, Deadline } from '../kube/deadline.ts';
import type { LeaseClient, LeaseRecord, StoredLease } from '../kube/lease-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { Times } from './candidate.ts';
import { Candidate, candidateDelay, electionTiming } from './candidate.ts';

export interface LeaderElectionOptions {
  /** Unique for each process, because the holder of the Lease leads. */
  readonly identity: string;
  readonly leases: Pick<LeaseClient, 'get' | 'create' | 'update'>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /**
   * The work of the leader. The signal fires when the term ends, and the next term begins only
   * after the work has ended. The election ends with the work.
   */
  readonly lead: (term: Term, signal: AbortSignal) => Promise<void>;
  /** Called with each new holder of the Lease; undefined after a release. */
  readonly onHolder?: (holder: string | undefined) => void;
  /** Called for each failed request; the election continues. */
  readonly onRetry?: (failure: Failure) => void;
  /** Called at the first response after failures. */
  readonly onRecovered?: () => void;
}

type ReplacedLease = Pick<StoredLease, 'metadata' | 'resourceVersion'>;

/** One term of leadership. */
export interface Term {
  /** False from the renewal deadline on. Check this right before each write. */
  isLeading(): boolean;
}

/**
 * Competes for a Lease, so that one of several replicas works. Follows client-go
 * (tools/leaderelection/leaderelection.go), with two differences: a replica that has lost the
 * Lease competes again, and a term ends ten seconds after the last renewal was sent, while
 * client-go counts from the response.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #candidate: Candidate;
  /** What the next update replaces. */
  #replaced: ReplacedLease = { metadata: {}, resourceVersion: '' };
  #reported: string | undefined;
  #failing = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#candidate = new Candidate(options.identity);
  }

  /**
   * Ends with the signal or with the work. Then waits for the work and releases the Lease.
   * @throws AgentError ABORTED; every error of the work
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    try {
      for (;;) {
        await this.#try(clock.elapsed() + electionTiming.renewDeadline, signal);
        if (this.#candidate.isLeading(clock.elapsed()) && (await this.#lead(signal))) return;
        if (signal.aborted) throw aborted('the leader election', signal);
        await clock.sleep(candidateDelay(random()), signal);
      }
    } finally {
      await this.#release();
    }
  }

  /** One term. True if the work ended by itself. */
  async #lead(signal: AbortSignal): Promise<boolean> {
    const { clock, lead } = this.#options;
    const over = new AbortController();
    const termSignal = AbortSignal.any([signal, over.signal]);
    const isLeading = (): boolean =>
      !termSignal.aborted && this.#candidate.isLeading(clock.elapsed());
    const work = lead({ isLeading }, termSignal);
    const renewing = this.#renewUntilLost(termSignal).finally(() => {
      over.abort();
    });
    try {
      await work;
      return !termSignal.aborted;
    } catch (error) {
      if (!hasCode(error, 'ABORTED')) throw error;
      return false;
    } finally {
      over.abort();
      await renewing;
    }
  }

  async #renewUntilLost(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const { deadline } = this.#candidate;
      const left = deadline === undefined ? 0 : deadline - clock.elapsed();
      if (deadline === undefined || left <= 0) return;
      try {
        await clock.sleep(Math.min(electionTiming.retry, left), signal);
      } catch {
        return;
      }
      if (this.#candidate.isLeading(clock.elapsed())) await this.#try(deadline, signal);
    }
  }

  /** One round of client-go's tryAcquireOrRenew, which ends before the monotonic time `limit`. */
  async #try(limit: number, signal: AbortSignal): Promise<void> {
    const { clock, onRetry } = this.#options;
    const ms = Math.min(limit - clock.elapsed(), longestRound);
    using deadline = new Deadline({ clock, ms, signal, what: 'the leader election' });
    try {
      await this.#acquireOrRenew(deadline.signal);
      this.#reportRecovery();
    } catch (error) {
      // After a conflict, another replica was faster.
      if (signal.aborted || hasCode(error, 'API_CONFLICT')) return;
      this.#failing = true;
      onRetry?.(toFailure(deadline.signal.aborted ? deadline.signal.reason : error));
    } finally {
      this.#reportHolder();
    }
  }

  async #acquireOrRenew(signal: AbortSignal): Promise<void> {
    if (await this.#renew(signal)) return;
    const { leases } = this.#options;
    const found = await leases.get(signal);
    if (found === undefined) {
      const first = this.#candidate.first(this.#times);
      await this.#write(first, () => leases.create(first, signal));
      return;
    }
    const claim = this.#candidate.claim(this.#recordOf(found), this.#times);
    if (claim !== undefined) await this.#update(claim, signal);
  }

  /** Renews without reading the Lease. False if the Lease has to be read, as after any failure. */
  async #renew(signal: AbortSignal): Promise<boolean> {
    const renewal = this.#candidate.renewal(this.#times);
    if (renewal === undefined) return false;
    try {
      await this.#update(renewal, signal);
      return true;
    } catch (error) {
      // Without a connection, a read would fail too.
      if (signal.aborted || hasCode(error, 'API_UNREACHABLE')) throw error;
      return false;
    }
  }

  async #update(record: LeaseRecord, signal: AbortSignal): Promise<void> {
    const { leases } = this.#options;
    await this.#write(record, () => leases.update({ ...record, ...this.#replaced }, signal));
  }

  async #write(record: LeaseRecord, send: () => Promise<StoredLease>): Promise<void> {
    const { clock } = this.#options;
    const sentAt = clock.elapsed();
    this.#recordOf(await send());
    this.#candidate.stored(record, { sentAt, elapsed: clock.elapsed() });
  }

  #recordOf({ metadata, resourceVersion, ...record }: StoredLease): LeaseRecord {
    this.#replaced = { metadata, resourceVersion };
    return record;
  }

  /** Lets another replica lead at once. If this fails, the others wait for the end of the lease. */
  async #release(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = new AbortController();
    using deadline = new Deadline({ clock, ms: second, signal, what: 'the release of the Lease' });
    await this.#tryRelease(deadline.signal).catch(() => undefined);
    this.#reportHolder();
  }

  async #tryRelease(signal: AbortSignal): Promise<void> {
    const { clock, leases } = this.#options;
    const record = this.#candidate.release(clock.now());
    if (record === undefined) return;
    try {
      await this.#update(record, signal);
    } catch (error) {
      if (!hasCode(error, 'API_CONFLICT')) throw error;
      // The server may have stored a renewal whose response was lost.
      const found = await leases.get(signal);
      if (found?.holder !== this.#options.identity) return;
      const { transitions } = this.#recordOf(found);
      await this.#update({ ...record, transitions }, signal);
    }
  }

  get #times(): Times {
    const { clock } = this.#options;
    return { elapsed: clock.elapsed(), now: clock.now() };
  }

  #reportHolder(): void {
    const { holder } = this.#candidate;
    if (holder === this.#reported) return;
    this.#reported = holder;
    this.#options.onHolder?.(holder);
  }

  #reportRecovery(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#options.onRecovered?.();
  }
}

/** Half the renewal deadline, as in controller-runtime, so that one lost request does not end a term. */
const longestRound = electionTiming.renewDeadline / 2;
