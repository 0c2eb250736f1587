import { minute } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * At most five inspections of a path per minute. An inspection may change what it inspects
 * (it tightens modes, repairs a link), which calls for another one to see the result. On a
 * file system that keeps neither, or beside a program that rewrites the pair all the time,
 * that would never end.
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

  /** By distance alone: a clock that is set back must not delay an inspection for hours. */
  #recent(path: string): readonly Instant[] {
    const now = this.#clock.now();
    return (this.#inspections.get(path) ?? []).filter((at) => Math.abs(now - at) < minute);
  }
}

const limit = 5;
