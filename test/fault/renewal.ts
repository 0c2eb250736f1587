import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { second } from '../../src/core/instant.ts';
import type { ExternalTree } from '../pki/renewal/external-tree.ts';
import { filesOf } from '../pki/renewal/renewal-checks.ts';
import { copyTo } from '../pki/renewal/renewal-tree.ts';
import { findProgram } from '../support/programs.ts';
import type { AttachRequest, Call, Errno } from './crash/injection.ts';
import { changingCalls, failures, lookingCalls } from './crash/injection.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import type { CertsCommand } from './renewal/commands.ts';
import { commands } from './renewal/commands.ts';

/**
 * Kills a command of `certs` that changes files at each of its system calls on files, or makes the
 * call fail, one call in each run. The next run and a rollback both have to lead to matching files.
 */
export const renewal: FaultFamily = {
  name: 'renewal',
  needs: ['strace'],
  async *run(options) {
    for (const command of commands) {
      const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
      try {
        const bench = { command, model: await command.make(root) };
        const counted = await countCalls(bench);
        for (const series of seriesOf(command.name, counted, options)) {
          options.progress(`${series.fault}: ${series.trials.length} tries`);
          yield await runSeries(bench, series, options);
        }
      } finally {
        await rm(root, { recursive: true, force: true });
      }
    }
  },
};

interface Bench {
  readonly command: CertsCommand;
  readonly model: ExternalTree;
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

async function countCalls({ command, model }: Bench): Promise<Counted[]> {
  const counted: Counted[] = [];
  for (const thread of ['pool', 'main'] as const) {
    await using tree = await temporaryCopy(model);
    await command.prepare?.(tree);
    const { trace, message } = await run(command, tree, { thread });
    if (message !== '') throw new Error(`a run without faults failed: ${message}`);
    for (const call of [...changingCalls, ...lookingCalls]) {
      const places = placesOf(call, trace);
      if (places.length > 0) counted.push({ thread, call, places });
    }
  }
  for (const [thread, call] of [
    ['pool', 'fsync'],
    ['pool', 'openat'],
    ['main', 'openat'],
  ] as const) {
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

function seriesOf(name: string, counted: readonly Counted[], { thorough }: FaultOptions): Series[] {
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
    ...(['ENOSPC', 'EIO'] as const).map((errno) => ({
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

async function runSeries(
  bench: Bench,
  { fault, trials }: Series,
  { signal }: FaultOptions,
): Promise<FaultRow> {
  const queue = [...trials];
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      signal.throwIfAborted();
      outcomes.push(await attempt(bench, trial));
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
  /** Seconds of the next renewal and the rollback. */
  readonly recovery: number;
  readonly seen: string;
}

async function attempt({ command, model }: Bench, trial: Trial): Promise<Outcome> {
  await using tree = await temporaryCopy(model);
  const previous = await filesOf(tree);
  await command.prepare?.(tree);
  const { trace, message } = await run(command, tree, trial);
  try {
    const began = performance.now();
    await command.requireRecovery(tree, previous);
    return {
      isStruck: trace.some((line) => /\(INJECTED\)|killed by SIGKILL/.test(line)),
      recovery: (performance.now() - began) / second,
      seen: /\(([A-Z_]+)\)/.exec(message)?.[1] ?? (message === '' ? 'nothing' : 'killed'),
    };
  } catch (error) {
    throw new Error(`${command.name} ${JSON.stringify(trial)}: ${message}`, { cause: error });
  }
}

interface TemporaryTree extends ExternalTree, AsyncDisposable {
  readonly root: string;
}

async function temporaryCopy(model: ExternalTree): Promise<TemporaryTree> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
  return {
    ...(await copyTo(root, model)),
    root,
    csrs: join(root, 'csrs'),
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  };
}

/** Runs the command with strace on one of its threads. */
async function run(
  command: CertsCommand,
  tree: TemporaryTree,
  trial: Pick<Trial, 'thread'> | Trial,
): Promise<{ readonly trace: readonly string[]; readonly message: string }> {
  const { root, kubernetes } = tree;
  const output = join(root, 'strace');
  const request: AttachRequest = {
    role: 'certs',
    thread: trial.thread,
    strace: findProgram('strace') ?? 'strace',
    // The main thread also loads the program.
    ...(trial.thread === 'main' ? mainPaths(tree) : { paths: [], replaced: [] }),
    filters: [
      `trace=${[...changingCalls, ...lookingCalls].join(',')}`,
      ...('call' in trial ? [`inject=${injection(trial)}`] : []),
    ],
    output,
  };
  const attach = pathToFileURL(join(import.meta.dirname, 'crash/attach.mjs')).href;
  const env = {
    ...process.env,
    NODE_OPTIONS: `--import=${attach}`,
    UV_THREADPOOL_SIZE: '1',
    FAULT_ATTACH: JSON.stringify(request),
  };
  const main = join(import.meta.dirname, '../../src/main.ts');
  const args = [main, 'certs', ...command.args(tree), '--kubernetes-dir', kubernetes];
  const message = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { env }, (error, stdout, stderr) => {
      // Exit code 3 is for the endpoints that were not checked.
      if (error === null || error.code === 3) resolve('');
      else resolve(`${stderr}${problems(stdout)}` || error.message);
    });
  });
  const text = await readFile(output, 'utf8').catch(() => '');
  return { trace: text.split('\n'), message };
}

/** The files that the main thread locks, opens and replaces. */
function mainPaths({
  kubernetes,
  certificates,
}: ExternalTree): Pick<AttachRequest, 'paths' | 'replaced'> {
  const pair = ['apiserver.crt', 'apiserver.key'];
  return {
    paths: [
      join(kubernetes, '.nodecertd/.nodecertd.lock'),
      join(kubernetes, 'admin.conf'),
      ...pair.map((name) => join(certificates, name)),
    ],
    replaced: [
      // The temporary file of a kubeconfig has this ending.
      { directory: kubernetes, name: 'admin.conf~' },
      ...pair.map((name) => ({ directory: certificates, name })),
    ],
  };
}

function problems(stdout: string): string {
  return /^PROBLEMS\n(.*)$/m.exec(stdout)?.[1] ?? '';
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
