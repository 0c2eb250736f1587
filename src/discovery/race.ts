import type { Clock } from '../sys/clock.ts';

export interface Race<T, R> {
  readonly items: readonly T[];
  /** Milliseconds until the next item starts beside the previous one. */
  readonly interval: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly run: (item: T, lane: Lane) => Promise<R>;
}

export interface Lane {
  /** Also fires when another item has succeeded. */
  readonly signal: AbortSignal;
  /** Starts the next item at once. */
  readonly startNext: () => void;
}

/**
 * The result of the first item that succeeds. Cancels the others, and waits until they have ended.
 * @throws AggregateError with the error of each item, in their order, if none succeeds
 */
export async function raceInTurn<T, R>({
  items,
  interval,
  clock,
  signal: outer,
  run,
}: Race<T, R>): Promise<R> {
  const won = new AbortController();
  const signal = AbortSignal.any([outer, won.signal]);
  const gates = items.map(() => Promise.withResolvers<undefined>());
  const open = (index: number): void => gates[index]?.resolve(undefined);
  const runs = items.map(async (item, index) => {
    await gates[index]?.promise;
    const startNext = (): void => open(index + 1);
    // Also starts the next item if the sleep is canceled, so that every run settles.
    clock.sleep(interval, signal).then(startNext, startNext);
    try {
      return await run(item, { signal, startNext });
    } finally {
      startNext();
    }
  });
  open(0);
  try {
    return await Promise.any(runs);
  } finally {
    won.abort();
    await Promise.allSettled(runs);
  }
}
