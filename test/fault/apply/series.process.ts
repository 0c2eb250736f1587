import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { Errno } from '../crash/injection.ts';
import type { FaultRow } from '../family.ts';
import { writeImage } from './image.ts';
import { runWithFault } from './injected-fault.ts';
import { canFail } from './recorded-call.ts';
import type { Call, Recording } from './recording.ts';
import { record } from './recording.ts';
import { Scene } from './scene.ts';
import type { SeriesRequest } from './series.ts';
import { nameOf } from './series.ts';
import { prepareProcess } from './same-calls.ts';

/**
 * A process with one thread in libuv's pool, which runs one command again and again on the same paths. A new
 * process for each fault would spend most of its time on its start.
 */

const request = JSON.parse(process.argv[2] ?? '{}') as SeriesRequest;
const { thorough } = request;
const name = nameOf(request);
prepareProcess();

await using scene = await Scene.open(request);
const recording = await record(scene);
await tryKills(recording);
await compareKills(recording);
for (const errno of thorough ? (['ENOSPC', 'EIO', 'EROFS', 'EACCES'] as const) : ['EIO' as const]) {
  await tryErrors(errno, recording);
}

/** A process that was killed leaves the files of the calls before. */
async function tryKills({ calls, images }: Recording): Promise<void> {
  const killed = chosen(calls).map((call) => ({
    what: describeCall(call),
    image: images[calls.indexOf(call)],
  }));
  const tried = [...killed, { what: 'its end', image: images.at(-1) }];
  report(`kill -9 of ${name}: ${tried.length} tries`);
  const times: number[] = [];
  const states = scene.states;
  for (const { what, image } of tried) {
    if (image === undefined) throw new Error(`no files before ${what}`);
    writeImage(scene.node, image);
    times.push(await recover(`SIGKILL before ${what}`));
  }
  yieldRow({
    fault: `kill -9 of ${name} at each call`,
    tried: tried.length,
    recovery: Math.max(...times),
    seen: [`${scene.states - states} states of the files`],
  });
}

/**
 * A process that is really killed leaves the same files as the log says. `close` changes no file, and strace
 * does not find the path of a file that was removed before.
 */
async function compareKills({ calls, images }: Recording): Promise<void> {
  const changing = chosen(calls).filter((call) => call.name !== 'close');
  const killed = changing.filter((_, index) => index % (thorough ? 16 : 2) === 0);
  report(`kill -9 of the process of ${name}: ${killed.length} tries`);
  const times: number[] = [];
  for (const call of killed) {
    const expected = images[calls.indexOf(call)] ?? new Map();
    await scene.kill(call, calls);
    assert.equal(scene.state, scene.describe(expected), describeCall(call));
    times.push(await recover(`the process was killed before ${describeCall(call)}`));
  }
  yieldRow({
    fault: `kill -9 of the process of ${name}`,
    tried: killed.length,
    recovery: Math.max(...times),
    seen: ['the computed files'],
  });
}

async function tryErrors(errno: Errno, { calls, ...rest }: Recording): Promise<void> {
  const failing = chosen(calls.filter((call) => canFail(call, errno)));
  report(`${errno} in ${name}: ${failing.length} tries`);
  const seen: string[] = [];
  const times: number[] = [];
  for (const call of failing) {
    scene.start();
    const fault = `error=${errno}` as const;
    const code = await runWithFault(scene, { call, fault }, { calls, ...rest });
    if (code === undefined) continue;
    seen.push(code);
    times.push(await recover(`${errno} at ${describeCall(call)}`));
  }
  if (seen.length === 0) throw new Error(`${errno} in ${name}: nothing was hit`);
  yieldRow({
    fault: `${errno} at each call of ${name}`,
    tried: seen.length,
    recovery: Math.max(...times),
    seen: counts(seen),
  });
}

/** Continues after a failure, so that one run finds all of them. @returns seconds */
async function recover(what: string): Promise<number> {
  try {
    return await scene.recover();
  } catch (error) {
    process.stderr.write(`${name}, ${what}: ${inspect(error)}\n`);
    process.exitCode = 1;
    return 0;
  }
}

/** In the short form only the last renames and syncs, when the work is half done. */
function chosen(calls: readonly Call[]): readonly Call[] {
  if (thorough) return calls;
  const last = new Map<string, Call>();
  for (const call of calls) {
    if (['rename', 'fsync'].includes(call.name)) last.set(call.thread + call.name, call);
  }
  return [...last.values()];
}

function describeCall({ name: called, nth, thread, part, paths }: Call): string {
  return `${called} ${nth} of part ${part} (${thread} thread) on ${paths.join(' and ')}`;
}

function counts(words: readonly string[]): string[] {
  return [...Map.groupBy(words, (word) => word)]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([word, found]) => `${word} (${found.length})`);
}

function report(progress: string): void {
  process.stdout.write(`${JSON.stringify({ progress })}\n`);
}

function yieldRow(row: Omit<FaultRow, 'lost'>): void {
  process.stdout.write(`${JSON.stringify({ row: { ...row, lost: 0 } })}\n`);
}
