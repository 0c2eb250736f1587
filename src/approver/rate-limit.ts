import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';

export interface RateLimitOptions {
  readonly clock: Clock;
  /** 0 is no limit. */
  readonly perSecond: number;
  /** How many may come at once after a pause. */
  readonly burst: number;
}

/** A token bucket on the monotonic clock. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  /** Below zero while callers wait. */
  #tokens: number;
  #filledAt: number;

  constructor(options: RateLimitOptions) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#filledAt = options.clock.elapsed();
  }

  /** Resolves when the caller may act; callers get their turn in order. @throws AgentError ABORTED */
  async take(signal: AbortSignal): Promise<void> {
    const { clock, perSecond } = this.#options;
    if (perSecond === 0) return;
    this.#fill();
    this.#tokens -= 1;
    if (this.#tokens >= 0) return;
    await clock.sleep((-this.#tokens / perSecond) * second, signal);
  }

  /** Whether the caller may act at once. */
  tryTake(): boolean {
    if (this.#options.perSecond === 0) return true;
    this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  #fill(): void {
    const { clock, perSecond, burst } = this.#options;
    const now = clock.elapsed();
    const filled = this.#tokens + ((now - this.#filledAt) / second) * perSecond;
    this.#tokens = Math.min(filled, burst);
    this.#filledAt = now;
  }
}
