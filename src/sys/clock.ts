import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { minute } from '../core/instant.ts';

/** The only source of time. Tests use a fake clock. */
export interface Clock {
  now(): Instant;
  /**
   * Milliseconds on a monotonic clock, which cannot be set and stops while the machine is
   * suspended.
   */
  elapsed(): number;
  /** Resolves after `ms`, or rejects with ABORTED once the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * The machine's clock. Timers use a monotonic clock that stops while the machine is suspended,
 * so `sleep` is for short waits. To wait for a time of day, use `sleepUntil`, which reads the
 * wall clock again.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep,
};

/** Not that of node:timers/promises, which creates one error more for each canceled wait: every request has one. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      clearTimeout(timer);
      reject(new AgentError('ABORTED', 'the wait was canceled', { cause: signal.reason }));
    };
    const timer = setTimeout(
      () => {
        signal.removeEventListener('abort', cancel);
        resolve();
      },
      Math.min(Math.max(ms, 0), longestTimer),
    );
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  });
}

/** With a larger value, setTimeout fires after 1 ms. */
const longestTimer = 2 ** 31 - 1;

/**
 * Waits until this much time has passed on one of the two clocks, and reads both once a minute.
 * Only the wall clock counts the time in which the machine is suspended, and only the monotonic
 * clock is never set back.
 */
export async function sleepOnEitherClock(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  const left = timerOnEitherClock(clock, ms);
  for (let rest = left(); rest > 0; rest = left()) {
    await clock.sleep(Math.min(rest, minute), signal);
  }
}

/** The milliseconds that are left on the clock on which more time has passed. */
export function timerOnEitherClock(clock: Clock, ms: number): () => number {
  const [start, elapsedAtStart] = [clock.now(), clock.elapsed()];
  return () => ms - Math.max(clock.now() - start, clock.elapsed() - elapsedAtStart);
}

/**
 * Waits a minute at most before it reads the wall clock again, and so notices within a minute
 * that the clock was set or the machine was suspended.
 */
export async function sleepUntil(
  clock: Clock,
  moment: Instant,
  signal: AbortSignal,
): Promise<void> {
  for (let left = moment - clock.now(); left > 0; left = moment - clock.now()) {
    await clock.sleep(Math.min(left, minute), signal);
  }
}

/** The milliseconds by which the time zone of this machine is ahead of UTC at an instant. */
export function localOffset(instant: Instant): number {
  return -new Date(instant).getTimezoneOffset() * minute;
}
