import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

/**
 * Tells of a wall clock that was set, or that went on while the machine was suspended:
 * it explains rotations that come early, certificates that seem expired or not yet
 * valid, and gaps in the log, none of which says so itself.
 */
export class ClockWatch {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Wall clock minus the clock that nobody sets, at the last look. */
  #offset: number;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
    this.#offset = this.#difference;
  }

  look(): void {
    const offset = this.#difference;
    const moved = offset - this.#offset;
    this.#offset = offset;
    if (Math.abs(moved) >= worthTelling) {
      this.#logger.log('clock_jumped', { seconds: Math.round(moved / second) });
    }
  }

  get #difference(): number {
    return this.#clock.now() - this.#clock.elapsed();
  }
}

/** From one look to the next. Time servers adjust by less, and slowly. */
const worthTelling = 10 * second;
