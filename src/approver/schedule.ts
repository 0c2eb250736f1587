import { hour } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { compareText } from './fair-queue.ts';
import { SortedList } from './sorted-list.ts';

interface Entry {
  readonly name: string;
  /** On the monotonic clock. */
  readonly due: number;
}

/** Names that fall due, each at its own time. One timer for all of them. */
export class Schedule {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #order = new SortedList<Entry>(
    (left, right) => left.due - right.due || compareText(left.name, right.name),
  );
  #wake = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces an earlier time of this name. */
  set(name: string, delay: number): void {
    this.delete(name);
    const entry = { name, due: this.#clock.elapsed() + delay };
    this.#entries.set(name, entry);
    this.#order.add(entry);
    if (this.#order.first === entry) this.#wake.abort();
  }

  delete(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.#order.remove(entry);
  }

  /** Only the signal ends it. @throws AgentError ABORTED */
  async run(signal: AbortSignal, onDue: (name: string) => void): Promise<never> {
    for (;;) {
      this.#wake = new AbortController();
      const { first } = this.#order;
      const wait = first === undefined ? hour : first.due - this.#clock.elapsed();
      await this.#sleep(wait, signal);
      this.#fire(onDue);
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { signal: wake } = this.#wake;
    try {
      await this.#clock.sleep(ms, AbortSignal.any([signal, wake]));
    } catch (error) {
      if (signal.aborted) throw error;
    }
  }

  #fire(onDue: (name: string) => void): void {
    const now = this.#clock.elapsed();
    for (let { first } = this.#order; first !== undefined && first.due <= now;) {
      this.delete(first.name);
      onDue(first.name);
      ({ first } = this.#order);
    }
  }
}
