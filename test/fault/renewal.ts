import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { second } from '../../src/core/instant.ts';
import { filesOf, requireRecovery, selection } from '../pki/renewal/renewal-checks.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { copyTo, makeKubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { findProgram } from '../support/programs.ts';
import type { AttachRequest, Call, Errno } from './crash/injection.ts';
import { changingCalls, failures, lookingCalls } from './crash/injection.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/**
 * Kills `certs renew` at each of its system calls on files, or makes the call fail, one call in
 * each run. The next renewal and a rollback both have to lead to matching files.
 */
export const renewal: FaultFamily = {
  name: 'renewal',
  needs: ['strace'],
  async *run(options) {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
    try {
      const model = await makeKubeadmTree(root);
      const counted = await countCalls(model);
      for (const series of seriesOf(counted, options)) {
        options.progress(`${series.fault}: ${series.trials.length} tries`);
        yield await runSeries(model, series, options);
      }
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  },
};

/** The renames of key and certificate are on the main thread, all other calls on the other one. */
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
  readonly count: number;
}

async function countCalls(model: KubeadmTree): Promise<Counted[]> {
  const counted: Counted[] = [];
  for (const thread of ['pool', 'main'] as const) {
    await using tree = await temporaryCopy(model);
    const { trace, message } = await renew(tree, thread);
    if (message !== '') throw new Error(`a run without faults failed: ${message}`);
    for (const call of [...changingCalls, ...lookingCalls]) {
      const count = trace.filter((line) => line.startsWith(`${call}(`)).length;
      // The main thread also loads the program.
      if (count > 0 && (thread === 'pool' || call === 'rename')) {
        counted.push({ thread, call, count });
      }
    }
  }
  for (const [thread, call] of [
    ['pool', 'fsync'],
    ['pool', 'openat'],
    ['main', 'rename'],
  ] as const) {
    if (!counted.some((found) => found.thread === thread && found.call === call)) {
      throw new Error(`certs renew did not call ${call} on the ${thread} thread`);
    }
  }
  return counted;
}

function seriesOf(counted: readonly Counted[], { thorough }: FaultOptions): Series[] {
  const changing = counted.filter(({ call }) => includes(changingCalls, call));
  if (!thorough) {
    const last = ({ thread, call, count }: Counted, fault: Trial['fault']): Trial => ({
      thread,
      call,
      nth: count,
      fault,
    });
    const chosen = changing.filter(({ call }) => call === 'rename' || call === 'fsync');
    const trials = chosen.flatMap((entry) => [last(entry, 'SIGKILL'), last(entry, 'EIO')]);
    return [{ fault: 'kill -9 and errors in certs renew', trials }];
  }
  const each = (entries: readonly Counted[], fault: Trial['fault']): Trial[] =>
    entries.flatMap(({ thread, call, count }) =>
      Array.from({ length: count }, (_, index) => ({ thread, call, nth: index + 1, fault })),
    );
  return [
    { fault: 'kill -9 of certs renew at each call', trials: each(changing, 'SIGKILL') },
    ...(['ENOSPC', 'EIO'] as const).map((errno) => ({
      fault: `${errno} at each call of certs renew`,
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
  model: KubeadmTree,
  { fault, trials }: Series,
  { signal }: FaultOptions,
): Promise<FaultRow> {
  const queue = [...trials];
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      signal.throwIfAborted();
      outcomes.push(await attempt(model, trial));
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

async function attempt(model: KubeadmTree, trial: Trial): Promise<Outcome> {
  await using tree = await temporaryCopy(model);
  const previous = await filesOf(tree);
  const { trace, message } = await renew(tree, trial.thread, trial);
  try {
    const began = performance.now();
    await requireRecovery(tree, previous);
    return {
      isStruck: trace.some((line) => /\(INJECTED\)|killed by SIGKILL/.test(line)),
      recovery: (performance.now() - began) / second,
      seen: /\(([A-Z_]+)\)/.exec(message)?.[1] ?? (message === '' ? 'nothing' : 'killed'),
    };
  } catch (error) {
    throw new Error(`${JSON.stringify(trial)}: ${message}`, { cause: error });
  }
}

interface TemporaryTree extends KubeadmTree, AsyncDisposable {
  readonly root: string;
}

async function temporaryCopy(model: KubeadmTree): Promise<TemporaryTree> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
  return {
    ...(await copyTo(root, model)),
    root,
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  };
}

/** Runs the command with strace on one of its threads. */
async function renew(
  { root, kubernetes }: TemporaryTree,
  thread: Thread,
  trial?: Trial,
): Promise<{ readonly trace: readonly string[]; readonly message: string }> {
  const output = join(root, 'strace');
  const request: AttachRequest = {
    role: 'certs',
    thread,
    strace: findProgram('strace') ?? 'strace',
    paths: [],
    replaced: [],
    filters: [
      `trace=${[...changingCalls, ...lookingCalls].join(',')}`,
      ...(trial === undefined ? [] : [`inject=${injection(trial)}`]),
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
  const args = ['certs', 'renew', ...selection, '--yes', '--no-verify'];
  const message = await new Promise<string>((resolve) => {
    const all = [main, ...args, '--kubernetes-dir', kubernetes];
    execFile(process.execPath, all, { env }, (error, stdout, stderr) => {
      // Exit code 3 is for the endpoints that were not checked.
      if (error === null || error.code === 3) resolve('');
      else resolve(`${stderr}${problems(stdout)}` || error.message);
    });
  });
  const text = await readFile(output, 'utf8').catch(() => '');
  return { trace: text.split('\n'), message };
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
