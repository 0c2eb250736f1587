import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { describeError, hasErrno } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { Clock } from './clock.ts';
import { LineReader } from './line-reader.ts';

export interface CommandOptions {
  /** The program by its absolute path, and its arguments; no shell takes them apart. */
  readonly argv: readonly string[];
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Milliseconds that it may take. */
  readonly timeoutMs: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
  /** Lines of standard output and error that are handed on; what follows is counted. */
  readonly mostLines: number;
  readonly onLine: (line: string) => void;
  /** Gets standard output byte for byte; only standard error is handed on in lines then. */
  readonly onOutput?: (chunk: Buffer) => void;
  /** Ends the command as its time limit does. */
  readonly signal: AbortSignal;
}

export type CommandEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'not-started'; readonly reason: string };

export interface CommandResult {
  readonly end: CommandEnd;
  /** Lines beyond those that were handed on. */
  readonly linesLeftOut: number;
}

/**
 * Runs a program to its end, in a session of its own with the root directory and
 * nothing on standard input, and settles when it is gone: never rejects. At the time
 * limit, or when it is aborted, the whole process group gets SIGTERM and, after a
 * grace, SIGKILL. What the program leaves running behind itself when it ends by itself
 * stays: a script may start a server.
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

/** Settles when the stream has ended or was destroyed. */
async function readBytes(stream: Readable, onOutput: (chunk: Buffer) => void): Promise<void> {
  stream.on('data', onOutput);
  // The other end can be gone before this side reads.
  stream.on('error', () => undefined);
  await once(stream, 'close').catch(() => undefined);
}

/** Most reasons not to start are an event, but some (an argument with NUL, no memory) are thrown. */
function start({ argv: [program = '', ...args], env }: CommandOptions): ChildProcess | Error {
  try {
    return spawn(program, args, {
      cwd: '/',
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, which can be ended as a whole.
      detached: true,
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(describeError(error));
  }
}

function notStarted(error: unknown): CommandResult {
  return { end: { kind: 'not-started', reason: whyNot(error) }, linesLeftOut: 0 };
}

/** The kernel's word for it alone: the path is known to whoever asked. */
function whyNot(error: unknown): string {
  if (hasErrno(error, 'ENOENT')) return 'it, or the interpreter it names, does not exist';
  if (hasErrno(error, 'EACCES')) return 'it may not be executed';
  return describeError(error);
}

/** How it ended. Rejects when it never ran. */
async function ended(child: ChildProcess, options: CommandOptions): Promise<CommandEnd> {
  const over = new AbortController();
  using _ = endedWithUs(child.pid);
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const limit = outOfTime(options, over.signal);
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

/** An agent that ends in a hurry must not leave behind what nobody else would end. */
function endedWithUs(group: number | undefined): Disposable {
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

/** Never settles for a command that is over before. */
async function outOfTime(
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
  if (signal !== null) return { kind: 'signalled', signal };
  return { kind: 'exited', code: code ?? 0 };
}

/** Settles when nothing of the group is left, or nothing that SIGKILL can end. */
async function endGroup(
  child: ChildProcess,
  exit: Promise<unknown>,
  { clock, graceMs = 5 * second }: CommandOptions,
): Promise<void> {
  const group = child.pid;
  if (group === undefined) return;
  signalGroup(group, 'SIGTERM');
  for (let waited = 0; waited < graceMs && signalGroup(group, 0); waited += look) {
    await pause(clock, Math.min(look, graceMs - waited));
  }
  signalGroup(group, 'SIGKILL');
  // What the kernel does not let go is not waited for.
  await Promise.race([exit, pause(clock, second)]);
}

/** Milliseconds between two looks at a group that was told to end. */
const look = 50;

async function pause(clock: Clock, ms: number): Promise<void> {
  await clock.sleep(ms, new AbortController().signal);
}

/** False when there is nobody left to hear it. Who changed its user may be out of reach: that one is left to the service manager. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    return false;
  }
}

/**
 * The last lines are still in the pipe when a program ends. A pipe that a process
 * in the background holds open is closed then: nobody knows until when it would be.
 */
async function flushed(
  read: Promise<unknown>,
  streams: readonly Readable[],
  clock: Clock,
): Promise<void> {
  const over = new AbortController();
  const patience = clock.sleep(second / 2, over.signal).catch(() => undefined);
  await Promise.race([read, patience]);
  over.abort();
  for (const stream of streams) stream.destroy();
  await read;
}
