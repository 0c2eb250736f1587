import type { Instant } from '../../../src/core/instant.ts';
import type { Clock } from '../../../src/sys/clock.ts';

export interface Timer {
  readonly at: Instant;
  /** Orders events of the same time by arrival. */
  readonly order: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time: a heap of events, and a clock that jumps from one event to the next. A
 * hundred thousand nodes need no promises or timers.
 */
export class EventQueue implements Clock {
  readonly #heap: Timer[] = [];
  #now: Instant;
  #order = 0;

  constructor(start: Instant) {
    this.#now = start;
  }

  now(): Instant {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  sleep(): Promise<void> {
    throw new Error('no part of the simulation may sleep');
  }

  at(at: Instant, run: () => void): Timer {
    const timer = { at: Math.max(at, this.#now), order: this.#order, run };
    this.#order += 1;
    this.#push(timer);
    return timer;
  }

  after(ms: number, run: () => void): Timer {
    return this.at(this.#now + ms, run);
  }

  runUntil(end: Instant): void {
    for (let next = this.#heap[0]; next !== undefined && next.at < end; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      next.run?.();
    }
    this.#now = end;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(timer);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !precedes(timer, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const least = this.#leastChild(index);
      const below = heap[least];
      if (below === undefined || !precedes(below, last)) break;
      heap[index] = below;
      index = least;
    }
    heap[index] = last;
  }

  #leastChild(index: number): number {
    const left = this.#heap[2 * index + 1];
    const right = this.#heap[2 * index + 2];
    const rightIsLess = left !== undefined && right !== undefined && precedes(right, left);
    return 2 * index + (rightIsLess ? 2 : 1);
  }
}

/** The event will do nothing. */
export function cancel(timer: Timer | undefined): void {
  if (timer !== undefined) timer.run = undefined;
}

function precedes(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
