import { json } from 'node:stream/consumers';
import { runWithFault } from './injected-fault.ts';
import type { Call } from './recording.ts';
import { runCommand } from './scene.ts';
import type { Series } from './series.ts';
import { prepareProcess } from './same-calls.ts';

/** A process with one thread in libuv's pool, which is killed before one of its calls. */

export interface KilledRequest {
  readonly node: string;
  readonly output: string;
  readonly series: Series;
  readonly call: Call;
  readonly calls: readonly Call[];
}

const { node, output, series, call, calls } = (await json(process.stdin)) as KilledRequest;
prepareProcess();
await runWithFault(
  { node, output, series, run: async (onPart) => runCommand(node, series, onPart) },
  { call, fault: 'signal=KILL' },
  { calls },
);
