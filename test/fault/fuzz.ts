import type { FaultFamily, FaultRow } from './family.ts';
import { campaign } from './fuzz/campaign.ts';
import type { Corpus } from './fuzz/corpus.ts';
import { makeCorpus } from './fuzz/corpus.ts';
import type { ChildReport } from './fuzz/order.ts';
import type { FuzzTarget } from './fuzz/target.ts';
import { targets } from './fuzz/targets.ts';

/** The number of inputs for each target in the short form. */
const quickShare = 1 / 200;
const leastInputs = 200;

/**
 * A million damaged inputs for every parser of the program. Each must give a valid
 * result or an error with a code, in bounded time and memory, and no error may contain
 * a key or token of the input. The targets run in separate processes, two at a time.
 * NODECERTD_FUZZ_SEED repeats a run.
 */
export const fuzz: FaultFamily = {
  name: 'fuzz',
  needs: [],
  async *run({ thorough, signal, progress }) {
    const seed = Number(
      process.env['NODECERTD_FUZZ_SEED'] ?? (thorough ? Date.now() % 2 ** 31 : 1),
    );
    progress(`seed ${seed}`);
    const corpus = await makeCorpus();
    const failures: string[] = [];
    const tryOne = async (target: FuzzTarget): Promise<FaultRow | undefined> => {
      try {
        return await rowOf(target, { thorough, signal, progress, seed, corpus });
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error instanceof Error ? error.message : String(error));
        return undefined;
      }
    };
    for await (const row of inLanes(targets, tryOne)) if (row !== undefined) yield row;
    if (failures.length > 0) throw new Error(failures.join('\n'));
  },
};

interface Run {
  readonly thorough: boolean;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
  readonly seed: number;
  readonly corpus: Corpus;
}

async function rowOf(target: FuzzTarget, run: Run): Promise<FaultRow> {
  const count = run.thorough
    ? target.inputs
    : Math.max(leastInputs, Math.floor(target.inputs * quickShare));
  const { seed, corpus, signal } = run;
  const report = await campaign({ target, corpus, seed, count, signal });
  run.progress(`${target.name}: ${measures(report, count)}`);
  return { fault: `fuzz: ${target.fault}`, tried: count, lost: 0, seen: seenIn(report) };
}

function measures(report: ChildReport, count: number): string {
  const { cpuSeconds, slowestMs, peakMiB, growthMiB } = report;
  return [
    `${count} inputs`,
    `${Math.round(count / cpuSeconds)} per CPU second`,
    `slowest ${slowestMs.toFixed(0)} ms`,
    `peak ${peakMiB.toFixed(0)} MiB`,
    `live heap ${growthMiB < 0 ? '' : '+'}${growthMiB.toFixed(1)} MiB`,
  ].join(', ');
}

/** Sorted by frequency. */
function seenIn({ outcomes }: ChildReport): string[] {
  return outcomes.toSorted((a, b) => b[1] - a[1]).map(([outcome, times]) => `${outcome} ×${times}`);
}

/** Runs two at a time and yields results in order. */
async function* inLanes<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, void> {
  const underWay: Promise<R>[] = [];
  for (const item of items) {
    if (underWay.length === 2) yield await (underWay.shift() as Promise<R>);
    underWay.push(work(item));
  }
  for (const rest of underWay) yield await rest;
}
