import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { caNames } from '../../src/trust/control-plane/task.ts';
import type { Series, SeriesRequest } from './apply/series.ts';
import { nameOf, seriesOf } from './apply/series.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/**
 * Kills a step of a CA rollover on a control-plane node, or its undo, at each of its system calls on
 * files, or makes the call fail, one call in each run. The step and its undo then both have to lead to the
 * same files as without a fault. The short form has only the last calls of a few steps.
 */
export const apply: FaultFamily = {
  name: 'apply',
  needs: ['strace'],
  async *run(options) {
    const cache = await mkdtemp(join(tmpdir(), 'nodecertd-fault-cache-'));
    try {
      const series = caNames.flatMap(seriesOf);
      const chosen = options.thorough ? series : series.filter(isShort);
      for (const one of chosen) yield* runSeries(one, { ...options, cache });
    } finally {
      await rm(cache, { recursive: true, force: true });
    }
  },
};

/** Each CA, a step with restarts, an undo and `abort`. */
function isShort({ ca, step, action, stage }: Series): boolean {
  if (ca === 'etcd') return step === 'trust' && action === 'apply';
  if (ca === 'front-proxy') return step === 'switch' && action === 'undo';
  return (step === 'switch' && action === 'apply') || stage === 'switch';
}

async function* runSeries(
  series: Series,
  { thorough, signal, progress, cache }: FaultOptions & { readonly cache: string },
): AsyncGenerator<FaultRow> {
  const program = join(import.meta.dirname, 'apply/series.process.ts');
  const request: SeriesRequest = { ...series, thorough };
  const child = spawn(process.execPath, [program, JSON.stringify(request)], {
    env: { ...process.env, NODE_COMPILE_CACHE: cache, UV_THREADPOOL_SIZE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  const ended = once(child, 'exit');
  const problems = text(child.stderr);
  for await (const line of createInterface(child.stdout)) {
    const { row, progress: news } = JSON.parse(line) as {
      readonly row?: FaultRow;
      readonly progress?: string;
    };
    if (news !== undefined) progress(news);
    if (row !== undefined) yield row;
  }
  const [code] = await ended;
  if (code !== 0) throw new Error(`${nameOf(series)}: ${await problems}`);
}
