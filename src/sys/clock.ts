import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { minute } from '../core/instant.ts';

/** The only way to the time of day. Tests put a fake one in its place. */
export interface Clock {
  now(): Instant;
  /** Milliseconds since some moment, by a clock that nobody sets and that stands still while the machine sleeps. */
  elapsed(): number;
  /** Settles after `ms`, or rejects with ABORTED as soon as the signal says so. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * The machine's clock. Timers run on a monotonic clock that stands still while
 * the machine sleeps, so `sleep` is for short waits; whoever waits for a moment
 * uses `sleepUntil`, which looks at the wall clock again.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(Math.min(Math.max(ms, 0), longestTimer), undefined, { signal });
    } catch (error) {
      throw new AgentError('ABORTED', 'the wait was canceled', { cause: error });
    }
  },
};

/** Above this setTimeout fires after 1 ms instead of waiting. */
const longestTimer = 2 ** 31 - 1;

/** Waits in slices of a minute at most, so that a clock set forward or a machine that slept is noticed within one. */
export async function sleepUntil(
  clock: Clock,
  moment: Instant,
  signal: AbortSignal,
): Promise<void> {
  for (let left = moment - clock.now(); left > 0; left = moment - clock.now()) {
    await clock.sleep(Math.min(left, minute), signal);
  }
}
