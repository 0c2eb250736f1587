import { setTimeout as delay } from 'node:timers/promises';
import { scaled } from './machine-speed.ts';

/** Waits until `find` finds something. @throws Error with `what` if nothing is found in time */
export async function until<T>(
  what: string,
  find: () => T | undefined | false | Promise<T | undefined | false>,
  seconds = 60,
): Promise<T> {
  const end = Date.now() + scaled(seconds * 1_000);
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await delay(20);
  }
}
