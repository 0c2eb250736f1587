import { minute, second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';

interface IdleMemoryOptions {
  readonly clock: Clock;
  /** Collects all garbage, which stops the process for about 0.1 s. */
  readonly release: () => void;
  readonly isIdle: () => boolean;
}

/**
 * Releases memory after work, once there is nothing to do. V8 collects only when it allocates, so an
 * idle leader would keep the memory of thousands of CSRs.
 */
export class IdleMemory {
  readonly #options: IdleMemoryOptions;
  #units = 0;
  #releasedAt = -Infinity;

  constructor(options: IdleMemoryOptions) {
    this.#options = options;
  }

  /** Notes work, such as a decision. */
  worked(units = 1): void {
    this.#units += units;
  }

  /** Only the signal ends it. @throws AgentError ABORTED */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, release, isIdle } = this.#options;
    for (;;) {
      await clock.sleep(interval, signal);
      if (!this.#isDue || !isIdle()) continue;
      this.#units = 0;
      this.#releasedAt = clock.elapsed();
      release();
    }
  }

  get #isDue(): boolean {
    const since = this.#options.clock.elapsed() - this.#releasedAt;
    return this.#units >= muchWork || (this.#units > 0 && since >= longestDelay);
  }
}

export const muchWork = 100;
const interval = 10 * second;
const longestDelay = 10 * minute;
