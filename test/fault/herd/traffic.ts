import { minute, second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';

export interface Span {
  readonly from: Instant;
  readonly to: Instant;
}

export interface Load {
  readonly total: number;
  /** Requests per second: on average, in the worst second, and in the worst minute. */
  readonly mean: number;
  readonly peak: number;
  readonly worstMinute: number;
  /**
   * The index of dispersion in the worst minute: the variance of its sixty seconds
   * divided by their mean. Independent requests give 1, bursts of k give k, and
   * synchronized nodes give hundreds.
   */
  readonly dispersion: number;
}

/** The number of requests to the API server in each second. */
export class Traffic {
  readonly #span: Span;
  readonly #seconds: Uint32Array;

  /** A number of whole minutes. */
  constructor(span: Span) {
    this.#span = span;
    this.#seconds = new Uint32Array((span.to - span.from) / second);
  }

  count(now: Instant): void {
    const index = Math.floor((now - this.#span.from) / second);
    this.#seconds[index] = (this.#seconds[index] ?? 0) + 1;
  }

  /** Adds independent requests with this rate per second. */
  add(rate: number, random: () => number): void {
    for (let index = 0; index < this.#seconds.length; index += 1) {
      this.#seconds[index] = (this.#seconds[index] ?? 0) + poisson(rate, random);
    }
  }

  load(span: Span = this.#span): Load {
    const seconds = this.#seconds.subarray(
      (span.from - this.#span.from) / second,
      (span.to - this.#span.from) / second,
    );
    let total = 0;
    let peak = 0;
    let worstMinute = 0;
    let dispersion = 0;
    for (let start = 0; start < seconds.length; start += perMinute) {
      const one = minuteOf(seconds.subarray(start, start + perMinute));
      total += one.sum;
      peak = Math.max(peak, one.peak);
      worstMinute = Math.max(worstMinute, one.sum / perMinute);
      // A minute with few requests says nothing about synchronization.
      if (one.sum >= perMinute) dispersion = Math.max(dispersion, one.dispersion);
    }
    return { total, mean: total / seconds.length, peak, worstMinute, dispersion };
  }
}

/** A random number of such events in one second. */
function poisson(mean: number, random: () => number): number {
  if (mean > 12) {
    // Above that, the distribution is close to normal, which the sum of twelve uniform
    // numbers approximates.
    let sum = -6;
    for (let index = 0; index < 12; index += 1) sum += random();
    return Math.max(Math.round(mean + sum * Math.sqrt(mean)), 0);
  }
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random(); product > limit; product *= random()) count += 1;
  return count;
}

const perMinute = minute / second;

function minuteOf(seconds: Uint32Array): { sum: number; peak: number; dispersion: number } {
  let sum = 0;
  let squares = 0;
  let peak = 0;
  for (const count of seconds) {
    sum += count;
    squares += count * count;
    peak = Math.max(peak, count);
  }
  const mean = sum / seconds.length;
  const variance = (squares - sum * mean) / (seconds.length - 1);
  return { sum, peak, dispersion: mean === 0 ? 0 : variance / mean };
}
