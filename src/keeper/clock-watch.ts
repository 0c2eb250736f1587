import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

/**
 * Logs that the wall clock was set, or that the machine was suspended. This explains early
 * rotations, certificates that seem expired or not yet valid, and gaps in the log.
 */
export class ClockWatch {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Wall clock minus monotonic clock at the last check. */
  #offset: number;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
    this.#offset = this.#difference;
  }

  check(): void {
    const offset = this.#difference;
    const moved = offset - this.#offset;
    this.#offset = offset;
    if (Math.abs(moved) >= smallestJump) {
      this.#logger.log('clock_jumped', { seconds: Math.round(moved / second) });
    }
  }

  get #difference(): number {
    return this.#clock.now() - this.#clock.elapsed();
  }
}

/**
 * The smallest change to log. Time synchronization changes the clock by less between two checks.
 */
const smallestJump = 10 * second;
