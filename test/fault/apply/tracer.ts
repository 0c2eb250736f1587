import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { findProgram } from '../../support/programs.ts';

/** The renames and the lock are on the main thread, most other calls on the one thread of libuv's pool. */
export const threads = ['main', 'pool'] as const;
export type Thread = (typeof threads)[number];

export interface Tracer {
  /** @returns the lines of each thread */
  readonly detach: () => Promise<ReadonlyMap<Thread, string>>;
}

/** Runs strace on threads of this process, which must have one thread in libuv's pool. */
export async function attach({
  to,
  args,
  output,
}: {
  readonly to: readonly Thread[];
  readonly args: readonly string[];
  readonly output: string;
}): Promise<Tracer> {
  const ids = new Map<Thread, string>();
  for (const thread of to) ids.set(thread, await idOf(thread));
  const targets = [...ids.values()].map((id) => `-p${id}`);
  const program = findProgram('strace') ?? 'strace';
  const options = ['-qy', '--output-separately', `-o${output}`];
  const strace = spawn(program, [...options, ...targets, ...args], { stdio: 'ignore' });
  const ended = once(strace, 'exit');
  for (const id of ids.values()) {
    while (readStatus(id).includes('TracerPid:\t0\n')) {
      if (strace.exitCode !== null) throw new Error(`strace ended with ${strace.exitCode}`);
      await setImmediate();
    }
  }
  const detach = async (): Promise<ReadonlyMap<Thread, string>> => {
    strace.kill('SIGINT');
    await ended;
    const logs = new Map<Thread, string>();
    for (const [thread, id] of ids) {
      logs.set(thread, readFileSync(`${output}.${id}`, 'utf8'));
      rmSync(`${output}.${id}`);
    }
    return logs;
  };
  return { detach };
}

function readStatus(id: string): string {
  return readFileSync(`/proc/self/task/${id}/status`, 'utf8');
}

/** Waits for calls that have begun, and those that follow: an error can end a run before them. */
export async function settle(): Promise<void> {
  do {
    await stat('/');
    await setImmediate();
  } while (process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq')));
}

async function idOf(thread: Thread): Promise<string> {
  if (thread === 'main') return readlinkSync('/proc/self');
  await stat('/');
  const found = readdirSync('/proc/self/task').filter((id) =>
    readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('libuv-worker'),
  );
  const [id] = found;
  if (id === undefined || found.length !== 1)
    throw new Error(`${found.length} threads in the pool`);
  return id;
}
