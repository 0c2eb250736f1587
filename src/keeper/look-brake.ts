import { minute } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * A look may itself change what it looks at (modes are tightened, a link repaired),
 * which calls for another look to see the result. On a file system that keeps neither,
 * or beside somebody who rewrites the pair all the time, that would go on without end:
 * five looks in a minute are enough, the next ones wait for the next minute.
 */
export class LookBrake {
  readonly #clock: Clock;
  readonly #looks = new Map<string, readonly Instant[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  holds(path: string): boolean {
    return this.#recent(path).length >= mostLooks;
  }

  looked(path: string): void {
    this.#looks.set(path, [...this.#recent(path), this.#clock.now()]);
  }

  /** By the distance alone: a clock set back must not hold a look for hours. */
  #recent(path: string): readonly Instant[] {
    const now = this.#clock.now();
    return (this.#looks.get(path) ?? []).filter((at) => Math.abs(now - at) < minute);
  }
}

const mostLooks = 5;
