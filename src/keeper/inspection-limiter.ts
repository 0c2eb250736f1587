import { minute } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * Allows at most five inspections of a path per minute. An inspection may tighten modes or repair
 * a link, and such a change triggers another inspection. On a file system that loses these
 * changes, or next to a program that rewrites the pair all the time, this would never end.
 */
export class InspectionLimiter {
  readonly #clock: Clock;
  readonly #inspections = new Map<string, readonly Instant[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isExhausted(path: string): boolean {
    return this.#recent(path).length >= limit;
  }

  record(path: string): void {
    this.#inspections.set(path, [...this.#recent(path), this.#clock.now()]);
  }

  /**
   * Compares absolute differences, because a clock that is set back must not delay an inspection
   * for hours.
   */
  #recent(path: string): readonly Instant[] {
    const now = this.#clock.now();
    return (this.#inspections.get(path) ?? []).filter((at) => Math.abs(now - at) < minute);
  }
}

const limit = 5;
