import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bench, Outcome, Trial } from './crash/attempt.ts';
import { attempt } from './crash/attempt.ts';
import { NodeTemplate } from './crash/node-template.ts';
import type { Series } from './crash/series.ts';
import { recordCalls, seriesOf } from './crash/series.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import { FileStore } from './filestore/file-store.ts';

/** Most of the time, a trial waits for a retry of the agent or for strace. */
const together = 4;

/**
 * Kills keeper or enroller at each of their system calls on files, or makes the call
 * fail, one call in each run. A run without faults shows which calls there are.
 */
export const crash: FaultFamily = {
  name: 'crash',
  needs: ['strace', 'go-programs'],
  async *run(options) {
    await using bench = await openBench(options);
    for (const phase of ['rotation', 'bootstrap'] as const) {
      const seen = await recordCalls(bench, phase);
      for (const series of seriesOf(phase, seen, options)) {
        options.progress(`${series.fault}: ${series.trials.length} tries`);
        yield await runSeries(bench, series, options);
      }
    }
  },
};

async function openBench({ thorough }: FaultOptions): Promise<Bench & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const fileStore = stack.use(new FileStore());
  const template = stack.use(await NodeTemplate.create());
  const cache = await mkdtemp(join(tmpdir(), 'nodecertd-fault-cache-'));
  stack.defer(async () => rm(cache, { recursive: true, force: true }));
  const released = { command: join(import.meta.dirname, '../../dist/nodecertd') };
  const held = stack.move();
  return {
    template,
    fileStore,
    // The released program has its own compile cache.
    ...(thorough ? { ...released, env: {} } : { env: { NODE_COMPILE_CACHE: cache } }),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

async function runSeries(bench: Bench, series: Series, options: FaultOptions): Promise<FaultRow> {
  const outcomes: Outcome[] = [];
  const queue = [...series.trials];
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      options.signal.throwIfAborted();
      try {
        outcomes.push(await attempt(bench, trial));
      } catch (error) {
        failures.push(error);
        queue.length = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  if (failures.length > 0) throw failures[0];
  if (series.toTheEnd) outcomes.push(...(await carryOn(bench, series.trials)));
  const struck = outcomes.filter(({ struck }) => struck !== undefined);
  if (struck.length === 0) throw new Error(`${series.fault}: nothing was hit`);
  return {
    fault: series.fault,
    tried: struck.length,
    lost: 0,
    recovery: Math.max(...struck.map(({ recovery }) => recovery)),
    seen: summary(struck),
  };
}

/**
 * A run may have more calls than were recorded, because threads race. Continues until a
 * run is not hit.
 */
async function carryOn(bench: Bench, trials: readonly Trial[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const trial of trials) {
    const { place, call, nth } = trial.injection;
    const isLast = !trials.some(
      ({ injection }) =>
        injection.place === place && injection.call === call && injection.nth > nth,
    );
    if (!isLast) continue;
    for (let beyond = nth + 1; ; beyond += 1) {
      const outcome = await attempt(bench, {
        ...trial,
        injection: { ...trial.injection, nth: beyond },
      });
      if (outcome.struck === undefined) break;
      outcomes.push(outcome);
    }
  }
  return outcomes;
}

/** Counts the log events, and the runs without one. */
function summary(outcomes: readonly Outcome[]): string[] {
  const counts = new Map<string, number>();
  for (const { seen } of outcomes) {
    for (const said of seen.length === 0 ? ['nothing'] : seen) {
      counts.set(said, (counts.get(said) ?? 0) + 1);
    }
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([said, count]) => `${said} (${count})`);
}
