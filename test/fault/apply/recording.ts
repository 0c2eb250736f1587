import { openSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { FileTask } from '../../../src/trust/control-plane/task.ts';
import type { Image } from './image.ts';
import { readImage } from './image.ts';
import type { RecordedCall } from './recorded-call.ts';
import { afterCall, parseCalls, recordedNames } from './recorded-call.ts';
import type { Scene } from './scene.ts';
import { countFrom } from './same-calls.ts';
import type { Thread } from './tracer.ts';
import { attach, threads } from './tracer.ts';

/** A call of the command on a file of the node. */
export interface Call extends RecordedCall {
  readonly thread: Thread;
  /** The part of the run, from 0. */
  readonly part: number;
  /** Of the calls of this name on this thread in this part: 1 is the first. */
  readonly nth: number;
  /** Every call of this name on this thread is on files of the node. */
  readonly isAlone: boolean;
}

export interface Recording {
  /** In order. */
  readonly calls: readonly Call[];
  /** The files before each of the calls, and at the end. */
  readonly images: readonly Image[];
  /** The first part behind the plan, and its tasks. Absent for an undo. */
  readonly planned?: { readonly part: number; readonly tasks: readonly FileTask[] };
}

/**
 * Runs the command without a fault. The log of its calls shows the files before each of them, which are the
 * files that a process leaves if it is killed there.
 */
export async function record(scene: Scene): Promise<Recording> {
  const { node, output } = scene;
  scene.start();
  const initial = readImage(node);
  let part = 0;
  let planned: Recording['planned'];
  const args = ['-x', '-ttt', '-s1048576', `-etrace=${recordedNames.join(',')}`];
  const tracer = await attach({ to: threads, args, output });
  await scene.run(async (tasks) => {
    part += 1;
    mark(node, part);
    if (tasks === undefined) return;
    planned = { part, tasks };
    countFrom(0);
  });
  const logs = await tracer.detach();
  const all = threads
    .flatMap((thread) => parseCalls(logs.get(thread) ?? '').map((call) => ({ ...call, thread })))
    .sort((a, b) => a.time - b.time);
  const replayed = replay(all, initial, node);
  const [expected, found] = [replayed.images.at(-1), readImage(node)].map(sorted);
  if (!isDeepStrictEqual(expected, found))
    throw new Error('the log of strace leads to other files');
  return { ...replayed, ...(planned && { planned }) };
}

type LoggedCall = RecordedCall & Pick<Call, 'thread'>;

function replay(
  all: readonly LoggedCall[],
  initial: Image,
  node: string,
): Pick<Recording, 'calls' | 'images'> {
  const calls: Call[] = [];
  const images: Image[] = [];
  let image = initial;
  let part = 0;
  for (const call of all) {
    if (call.paths.some((path) => path.startsWith(markIn(node)))) part += 1;
    if (isOfCommand(call, node)) {
      const same = all.filter(({ name, thread }) => name === call.name && thread === call.thread);
      const isAlone = same.every((one) => isOfCommand(one, node));
      const earlier = calls.filter(
        (one) => one.name === call.name && one.thread === call.thread && one.part === part,
      );
      calls.push({ ...call, part, nth: earlier.length + 1, isAlone });
      images.push(image);
    }
    image = afterCall(image, call, node);
  }
  return { calls, images: [...images, image] };
}

/** The runtime also closes files on the main thread. The command closes there what it holds open. */
function isOfCommand({ name, thread, paths }: LoggedCall, node: string): boolean {
  if (thread === 'main' && name === 'close') return false;
  return paths.some((path) => path.startsWith(join(node, 'etc')));
}

/** A call that shows in the log where a part of the run begins. */
function mark(node: string, part: number): void {
  try {
    openSync(`${markIn(node)}${part}`, 'r');
  } catch {
    // There is no such file.
  }
}

function markIn(node: string): string {
  return join(node, 'part-');
}

function sorted(image: Image = new Map()): Image {
  return new Map([...image].sort(([a], [b]) => (a < b ? -1 : 1)));
}
