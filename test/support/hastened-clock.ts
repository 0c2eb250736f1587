import type { Clock } from '../../src/sys/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';

/** A clock whose waits are shorter than they say, by this factor. Its time of day is right. */
export function hastened(factor: number): Clock {
  return {
    now: () => systemClock.now(),
    elapsed: () => systemClock.elapsed() * factor,
    sleep: (ms, signal) => systemClock.sleep(ms / factor, signal),
  };
}
