import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { gateDelay } from '../core/timing.ts';
import type { Clock } from '../sys/clock.ts';

interface Refusal {
  readonly failure: Failure;
  /** Consecutive refusals. */
  readonly count: number;
  /** When the next request of this kind may be sent, on the monotonic clock. */
  readonly until: number;
  /** A request has been sent since the last refusal. */
  readonly isProbed: boolean;
}

/**
 * The kinds of requests that the API server refuses because a permission is missing. One request
 * of such a kind is tried from time to time, and requests of other kinds are not delayed.
 */
export class Refusals<Kind extends string> {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #refusals = new Map<Kind, Refusal>();

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The failure of a request that need not be sent; undefined if it may be sent. */
  failureOf(kind: Kind): Failure | undefined {
    const { failure, until = 0 } = this.#refusals.get(kind) ?? {};
    const left = until - this.#clock.elapsed();
    return failure === undefined || left <= 0 ? undefined : { ...failure, retryAfterMs: left };
  }

  /** Others of this kind wait for the result of the request that the caller sends now. */
  enter(kind: Kind): void {
    this.#retry(kind, shortestPause, true);
  }

  /** The caller sent no request after all. */
  unused(kind: Kind): void {
    this.#retry(kind, 0, false);
  }

  #retry(kind: Kind, pause: number, isProbed: boolean): void {
    const refusal = this.#refusals.get(kind);
    if (refusal === undefined) return;
    const until = this.#clock.elapsed() + pause;
    this.#refusals.set(kind, { ...refusal, until, isProbed });
  }

  /** Returns the failure with the time until the next request. */
  refused(kind: Kind, failure: Failure): Failure {
    const { count = 0, until = 0, isProbed = true } = this.#refusals.get(kind) ?? {};
    // Requests that were sent before the first refusal count as one.
    const refusals = count + Number(isProbed);
    const now = this.#clock.elapsed();
    const pause = Math.max(failure.retryAfterMs ?? 0, shortestPause);
    const delay = Math.max(gateDelay(refusals, pause, this.#random()), until - now);
    this.#refusals.set(kind, { failure, count: refusals, until: now + delay, isProbed: false });
    return { ...failure, retryAfterMs: delay };
  }

  /** The API server did not refuse a request of this kind. */
  allowed(kind: Kind): void {
    this.#refusals.delete(kind);
  }
}

/** An administrator has to add a permission. */
const shortestPause = 10 * second;
