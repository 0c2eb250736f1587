import { setImmediate } from 'node:timers/promises';
import { second } from '../../../src/core/instant.ts';
import type { FakeClock } from '../../support/fake-clock.ts';

/** Lets time pass while the work waits for the clock, and not while it waits for a response. */
export async function passing<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const end = (): void => over.abort();
  void work.then(end, end);
  while (!over.signal.aborted) {
    if (clock.sleeping > 0) await clock.advance(second);
    else await setImmediate();
  }
  return work;
}
