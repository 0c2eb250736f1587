import { gateDelay } from '../core/timing.ts';
import { aborted } from '../kube/deadline.ts';
import type { Clock } from '../sys/clock.ts';
import { unlessAborted } from './tasks.ts';

/**
 * Stops all workers while the API server fails, so that thousands of CSRs do not each send a
 * request that fails. After a failure it delays all requests. Then it allows one request at a time,
 * until one succeeds.
 */
export class RequestGate {
  readonly #clock: Clock;
  readonly #random: () => number;
  #failures = 0;
  /** On the monotonic clock. */
  #opensAt = 0;
  /** Only after failures: whether a request is on its way. */
  #probing = false;
  #changed = Promise.withResolvers<void>();

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#failures === 0;
  }

  /** Resolves when the caller may send a request. It then has to report the result. @throws AgentError ABORTED */
  async enter(signal: AbortSignal): Promise<void> {
    while (!this.isOpen) {
      const wait = this.#opensAt - this.#clock.elapsed();
      if (wait > 0) await this.#clock.sleep(wait, signal);
      else if (this.#probing) {
        await unlessAborted(this.#changed.promise, { what: 'the request', signal });
      } else {
        this.#probing = true;
        return;
      }
    }
    if (signal.aborted) throw aborted('the request', signal);
  }

  /** The API server answered, even if it refused the request. */
  succeeded(): void {
    // Another request failed while this one was on its way, so the API server may be unhealthy.
    if (!this.isOpen && !this.#probing) return;
    this.#failures = 0;
    this.#endProbe();
  }

  /** @param retryAfterMs 0 without Retry-After */
  failed(retryAfterMs: number): void {
    // Requests that were sent before the first failure count as one failure.
    if (this.isOpen || this.#probing) this.#failures += 1;
    const delay = gateDelay(this.#failures, retryAfterMs, this.#random());
    this.#opensAt = Math.max(this.#opensAt, this.#clock.elapsed() + delay);
    this.#endProbe();
  }

  /** The caller sent no request after all. */
  unused(): void {
    this.#endProbe();
  }

  #endProbe(): void {
    if (!this.#probing) return;
    this.#probing = false;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
