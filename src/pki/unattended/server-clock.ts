import type { Instant } from '../../core/instant.ts';
import type { Clock } from '../../sys/clock.ts';

/** The clock of an API server, by the Date headers of its responses. */
export class ServerClock {
  readonly #clock: Clock;
  #latest: { readonly time: Instant; readonly elapsed: number; readonly ahead: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes a Date header, which has whole seconds. */
  readonly note = (time: Instant): void => {
    const ahead = this.#clock.now() - time;
    this.#latest = { time, elapsed: this.#clock.elapsed(), ahead };
  };

  /** The clock of this machine until the API server has answered. */
  now(): Instant {
    if (this.#latest === undefined) return this.#clock.now();
    return this.#latest.time + this.#clock.elapsed() - this.#latest.elapsed;
  }

  /** Milliseconds by which this machine was ahead at the last response; 0 without one. */
  get ahead(): number {
    return this.#latest?.ahead ?? 0;
  }
}
