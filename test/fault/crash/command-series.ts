import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { second } from '../../../src/core/instant.ts';
import { findProgram } from '../../support/programs.ts';
import type { FaultOptions, FaultRow } from '../family.ts';
import type { AttachRequest, Call, Errno, Place } from './injection.ts';
import { changingCalls, failures, lookingCalls } from './injection.ts';

/** The files of one trial. */
export interface Scene extends AsyncDisposable {
  /** For the output of strace. */
  readonly root: string;
}

/** A command that changes files, and what has to be true after it was killed. */
export interface KilledCommand<S extends Scene> {
  /** As after `nodecertd`, for the table. */
  readonly name: string;
  readonly role: Exclude<AttachRequest['role'], Place['role']>;
  /** By default `src/main.ts`. */
  readonly program?: string;
  /** The errors of the long form; by default ENOSPC and EIO. */
  readonly errors?: readonly Errno[];
  readonly open: () => Promise<S>;
  /** The command line without its first word. */
  readonly args: (scene: S) => readonly string[];
  /** The files that the main thread opens and replaces. It also loads the program. */
  readonly mainPaths: (scene: S) => Pick<AttachRequest, 'paths' | 'replaced'>;
  /** Calls that a run without faults must make, so that the test notices if strace sees none. */
  readonly calls: readonly (readonly [Thread, Call])[];
  /** The problem of a command that ended with an error, or an empty text if there is none. */
  readonly problemOf: (ended: EndedCommand) => string;
  readonly requireRecovery: (scene: S) => Promise<void>;
}

export interface EndedCommand {
  /** Null after a signal. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The renames of key and certificate are on the main thread, most other calls on the other one. */
type Thread = AttachRequest['thread'];

interface Trial {
  readonly thread: Thread;
  readonly call: Call;
  readonly nth: number;
  readonly fault: 'SIGKILL' | Errno;
}

interface Series {
  readonly fault: string;
  readonly trials: readonly Trial[];
}

interface Counted {
  readonly thread: Thread;
  readonly call: Call;
  /** Which of these calls are on files: 1 is the first. */
  readonly places: readonly number[];
}

/**
 * Kills a command at each of its system calls on files, or makes the call fail, one call in each
 * run. In the short form, only at the last calls that sync and rename.
 */
export async function* killAtEachCall<S extends Scene>(
  command: KilledCommand<S>,
  options: FaultOptions,
): AsyncGenerator<FaultRow> {
  const counted = await countCalls(command);
  for (const series of seriesOf(command, counted, options)) {
    options.progress(`${series.fault}: ${series.trials.length} tries`);
    yield await runSeries(command, series, options);
  }
}

async function countCalls<S extends Scene>(command: KilledCommand<S>): Promise<Counted[]> {
  const counted: Counted[] = [];
  for (const thread of ['pool', 'main'] as const) {
    await using scene = await command.open();
    const { trace, problem } = await run(command, scene, { thread });
    if (problem !== '') throw new Error(`a run without faults failed: ${problem}`);
    for (const call of [...changingCalls, ...lookingCalls]) {
      const places = placesOf(call, trace);
      if (places.length > 0) counted.push({ thread, call, places });
    }
  }
  for (const [thread, call] of command.calls) {
    if (!counted.some((found) => found.thread === thread && found.call === call)) {
      throw new Error(`${command.name} did not call ${call} on the ${thread} thread`);
    }
  }
  return counted;
}

/**
 * Most writes only wake the main thread. Their number varies by one, so the neighbors of a write to a
 * file count, too.
 */
function placesOf(call: Call, trace: readonly string[]): number[] {
  const lines = trace.filter((line) => line.startsWith(`${call}(`));
  const onFiles = lines.flatMap((line, at) =>
    line.includes('<anon_inode:[eventfd]>') ? [] : [at + 1],
  );
  if (call !== 'write') return onFiles;
  const around = onFiles.flatMap((place) => [place - 1, place, place + 1]);
  return [...new Set(around)].filter((place) => place > 0);
}

function seriesOf(
  { name, errors = ['ENOSPC', 'EIO'] }: Pick<KilledCommand<Scene>, 'name' | 'errors'>,
  counted: readonly Counted[],
  { thorough }: FaultOptions,
): Series[] {
  const changing = counted.filter(({ call }) => includes(changingCalls, call));
  if (!thorough) {
    const last = ({ thread, call, places }: Counted, fault: Trial['fault']): Trial => ({
      thread,
      call,
      nth: places.at(-1) ?? 1,
      fault,
    });
    const chosen = changing.filter(({ call }) => call === 'rename' || call === 'fsync');
    const trials = chosen.flatMap((entry) => [last(entry, 'SIGKILL'), last(entry, 'EIO')]);
    return [{ fault: `kill -9 and errors in ${name}`, trials }];
  }
  const each = (entries: readonly Counted[], fault: Trial['fault']): Trial[] =>
    entries.flatMap(({ thread, call, places }) =>
      places.map((nth) => ({ thread, call, nth, fault })),
    );
  return [
    { fault: `kill -9 of ${name} at each call`, trials: each(changing, 'SIGKILL') },
    ...errors.map((errno) => ({
      fault: `${errno} at each call of ${name}`,
      trials: each(
        changing.filter(({ call }) => call !== 'close' && includes(failures[errno], call)),
        errno,
      ),
    })),
  ];
}

function includes(calls: readonly Call[], call: Call): boolean {
  return calls.includes(call);
}

/** A trial spends most of its time on waiting for the disk. */
const together = 2;

async function runSeries<S extends Scene>(
  command: KilledCommand<S>,
  { fault, trials }: Series,
  { signal }: FaultOptions,
): Promise<FaultRow> {
  const queue = [...trials];
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      signal.throwIfAborted();
      outcomes.push(await attempt(command, trial));
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  const struck = outcomes.filter(({ isStruck }) => isStruck);
  if (struck.length === 0) throw new Error(`${fault}: nothing was hit`);
  return {
    fault,
    tried: struck.length,
    lost: 0,
    recovery: Math.max(...struck.map(({ recovery }) => recovery)),
    seen: counts(struck.map(({ seen }) => seen)),
  };
}

interface Outcome {
  readonly isStruck: boolean;
  /** Seconds of the checks and of the runs after it. */
  readonly recovery: number;
  readonly seen: string;
}

async function attempt<S extends Scene>(command: KilledCommand<S>, trial: Trial): Promise<Outcome> {
  await using scene = await command.open();
  const { trace, problem } = await run(command, scene, trial);
  try {
    const began = performance.now();
    await command.requireRecovery(scene);
    return {
      isStruck: trace.some((line) => /\(INJECTED\)|killed by SIGKILL/.test(line)),
      recovery: (performance.now() - began) / second,
      seen: /\(([A-Z_]+)\)/.exec(problem)?.[1] ?? (problem === '' ? 'nothing' : 'killed'),
    };
  } catch (error) {
    throw new Error(`${command.name} ${JSON.stringify(trial)}: ${problem}`, { cause: error });
  }
}

/** Runs the command with strace on one of its threads. */
async function run<S extends Scene>(
  command: KilledCommand<S>,
  scene: S,
  trial: Pick<Trial, 'thread'> | Trial,
): Promise<{ readonly trace: readonly string[]; readonly problem: string }> {
  const output = join(scene.root, 'strace');
  const request: AttachRequest = {
    role: command.role,
    thread: trial.thread,
    strace: findProgram('strace') ?? 'strace',
    ...(trial.thread === 'main' ? command.mainPaths(scene) : { paths: [], replaced: [] }),
    filters: [
      `trace=${[...changingCalls, ...lookingCalls].join(',')}`,
      ...('call' in trial ? [`inject=${injection(trial)}`] : []),
    ],
    output,
  };
  const { program = main } = command;
  const ended = await start([program, command.role, ...command.args(scene)], request);
  const text = await readFile(output, 'utf8').catch(() => '');
  return { trace: text.split('\n'), problem: command.problemOf(ended) };
}

const main = join(import.meta.dirname, '../../../src/main.ts');
const attach = pathToFileURL(join(import.meta.dirname, 'attach.mjs')).href;

async function start(args: readonly string[], request: AttachRequest): Promise<EndedCommand> {
  const env = {
    ...process.env,
    NODE_OPTIONS: `--import=${attach}`,
    UV_THREADPOOL_SIZE: '1',
    FAULT_ATTACH: JSON.stringify(request),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [...args], { env }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr: stderr || (error?.message ?? '') });
    });
  });
}

function injection({ call, nth, fault }: Trial): string {
  const what = fault === 'SIGKILL' ? 'signal=SIGKILL' : `error=${fault}`;
  return `${call}:${what}:when=${nth}`;
}

function counts(words: readonly string[]): string[] {
  return [...Map.groupBy(words, (word) => word)]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([word, found]) => `${word} (${found.length})`);
}
