import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { describeError, hasErrno } from '../core/errors.ts';
import { formatDuration, second } from '../core/instant.ts';
import type { Clock } from './clock.ts';
import { LineReader } from './line-reader.ts';

export interface CommandOptions {
  /** The absolute path of the program, and its arguments. No shell is involved. */
  readonly argv: readonly string[];
  /** The complete environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Time limit in milliseconds. */
  readonly timeoutMs: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
  /** The maximum number of output lines that are passed on. Further lines are counted. */
  readonly maxLines: number;
  readonly onLine: (line: string) => void;
  /** Receives standard output byte for byte. Then only standard error is passed on in lines. */
  readonly onOutput?: (chunk: Buffer) => void;
  /** Ends the command in the same way as the time limit. */
  readonly signal: AbortSignal;
}

export type CommandEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: string }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'not-started'; readonly reason: string };

/** Follows the name of the program in a sentence. */
export function describeEnd(end: CommandEnd, timeoutMs: number): string {
  switch (end.kind) {
    case 'exited':
      return `failed with exit code ${end.code}`;
    case 'signaled':
      return `was killed by ${end.signal}`;
    case 'timed-out':
      return `timed out after ${formatDuration(timeoutMs)}`;
    case 'not-started':
      return `could not be started: ${end.reason}`;
    case 'aborted':
      return 'was canceled';
    default:
      return end satisfies never;
  }
}

export interface CommandResult {
  readonly end: CommandEnd;
  /** Number of lines that were not passed on. */
  readonly linesLeftOut: number;
}

/**
 * Runs a program in its own session, in the root directory and without standard input.
 * Resolves when the program has ended, and never rejects. At the time limit or on abort, the
 * whole process group gets SIGTERM, and SIGKILL after the grace period. Background processes
 * of a program that ends on its own keep running, because a script may start a server.
 */
export async function runCommand(options: CommandOptions): Promise<CommandResult> {
  const reader = new LineReader(options);
  if (options.signal.aborted) return { end: { kind: 'aborted' }, linesLeftOut: 0 };
  const child = start(options);
  if (child instanceof Error) return notStarted(child);
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
  const { onOutput } = options;
  const read = Promise.all(
    streams.map((stream) =>
      stream === child.stdout && onOutput !== undefined
        ? readBytes(stream, onOutput)
        : reader.read(stream),
    ),
  );
  try {
    const end = await ended(child, options);
    await flushed(read, streams, options.clock);
    return { end, linesLeftOut: reader.leftOut };
  } catch (error) {
    return notStarted(error);
  }
}

/** Resolves when the stream has ended or was destroyed. */
async function readBytes(stream: Readable, onOutput: (chunk: Buffer) => void): Promise<void> {
  stream.on('data', onOutput);
  // The program may have ended before this side reads.
  stream.on('error', () => undefined);
  await once(stream, 'close').catch(() => undefined);
}

/**
 * spawn() reports most failures as an event, but throws some: an argument with NUL, or no
 * memory.
 */
function start({ argv: [program = '', ...args], env }: CommandOptions): ChildProcess | Error {
  try {
    return spawn(program, args, {
      cwd: '/',
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own, which can be signaled as a whole.
      detached: true,
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(describeError(error));
  }
}

function notStarted(error: unknown): CommandResult {
  return { end: { kind: 'not-started', reason: startFailure(error) }, linesLeftOut: 0 };
}

/** Omits the path, because the caller adds it. */
function startFailure(error: unknown): string {
  if (hasErrno(error, 'ENOENT')) return 'the program, or its interpreter, does not exist';
  if (hasErrno(error, 'EACCES')) return 'permission to execute it is denied';
  return describeError(error);
}

/** Waits until the command ends. Rejects if it did not start. */
async function ended(child: ChildProcess, options: CommandOptions): Promise<CommandEnd> {
  const over = new AbortController();
  using _ = killAtExit(child.pid);
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const limit = timeLimitOrAbort(options, over.signal);
  try {
    const first = await Promise.race([exit, limit]);
    if (typeof first !== 'string') return endOf(...first);
    await endGroup(child, exit, options);
    return { kind: first };
  } finally {
    over.abort();
  }
}

const groups = new Set<number>();

/** Kills running commands when this process exits, because no other process would. */
function killAtExit(group: number | undefined): Disposable {
  if (groups.size === 0) process.on('exit', killGroups);
  if (group !== undefined) groups.add(group);
  return {
    [Symbol.dispose]: () => {
      if (group !== undefined) groups.delete(group);
      if (groups.size === 0) process.removeListener('exit', killGroups);
    },
  };
}

function killGroups(): void {
  for (const group of groups) signalGroup(group, 'SIGKILL');
}

/** Never settles after the command has ended. */
async function timeLimitOrAbort(
  { clock, timeoutMs, signal }: CommandOptions,
  over: AbortSignal,
): Promise<'timed-out' | 'aborted'> {
  try {
    await clock.sleep(timeoutMs, AbortSignal.any([signal, over]));
    return 'timed-out';
  } catch {
    return over.aborted ? new Promise(() => undefined) : 'aborted';
  }
}

function endOf(code: number | null, signal: string | null): CommandEnd {
  if (signal !== null) return { kind: 'signaled', signal };
  return { kind: 'exited', code: code ?? 0 };
}

/** Resolves when the process group is gone, or SIGKILL has no effect. */
async function endGroup(
  child: ChildProcess,
  exit: Promise<unknown>,
  { clock, graceMs = 5 * second }: CommandOptions,
): Promise<void> {
  const group = child.pid;
  if (group === undefined) return;
  signalGroup(group, 'SIGTERM');
  for (let waited = 0; waited < graceMs && signalGroup(group, 0); waited += checkInterval) {
    await pause(clock, Math.min(checkInterval, graceMs - waited));
  }
  signalGroup(group, 'SIGKILL');
  // Does not wait for a process that the kernel cannot kill, and neither does the end of this one.
  await Promise.race([exit, pause(clock, second)]);
  child.unref();
}

/** Interval in milliseconds between two checks of a group that got SIGTERM. */
const checkInterval = 50;

async function pause(clock: Clock, ms: number): Promise<void> {
  await clock.sleep(ms, new AbortController().signal);
}

/**
 * False if the group has ended, or if its processes changed their user, so that this process
 * cannot signal them. The service manager ends those.
 */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    return false;
  }
}

/**
 * Reads the last lines, which are still in the pipe when a program ends. Closes a pipe that a
 * background process keeps open, because it may stay open forever.
 */
async function flushed(
  read: Promise<unknown>,
  streams: readonly Readable[],
  clock: Clock,
): Promise<void> {
  const over = new AbortController();
  const timeLimit = clock.sleep(second / 2, over.signal).catch(() => undefined);
  await Promise.race([read, timeLimit]);
  over.abort();
  for (const stream of streams) stream.destroy();
  await read;
}
