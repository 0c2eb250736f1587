import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Corpus } from './corpus.ts';
import type { Broken, ChildReport } from './order.ts';
import { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';

export interface Campaign {
  readonly target: FuzzTarget;
  readonly corpus: Corpus;
  readonly seed: number;
  readonly count: number;
  readonly signal: AbortSignal;
  readonly limits?: Partial<Limits>;
}

interface Limits {
  /** An input that takes longer counts as a hang. */
  readonly hangMs: number;
  /** The limit for live objects, after which the process ends. */
  readonly heapMiB: number;
  /** The limit for resident memory, including buffers and OpenSSL. */
  readonly peakMiB: number;
  /** The allowed growth of the live heap over the second half. */
  readonly growthMiB: number;
}

const defaultLimits: Limits = { hangMs: 15_000, heapMiB: 160, peakMiB: 600, growthMiB: 4 };

/**
 * Runs a target with this number of inputs in its own process.
 * @throws Error with the input and a command that repeats it, if a promise was broken
 */
export async function campaign(order: Campaign): Promise<ChildReport> {
  const limits = { ...defaultLimits, ...order.limits };
  const directory = await mkdtemp(join(scratch(), 'nodecertd-fuzz-'));
  try {
    await using progress = await open(join(directory, '.progress'), 'w+');
    const report = await supervise(order, { directory, progress, limits });
    const complaints = [
      ...(await Promise.all(report.broken.map((broken) => describe(order, broken)))),
      ...memoryComplaints(report, limits),
    ];
    if (complaints.length === 0) return report;
    throw new Error(
      `fuzz target ${order.target.name}, seed ${order.seed}:\n${complaints.join('\n')}`,
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A folder in memory if possible, because some targets write and sync a file for each input. */
function scratch(): string {
  return process.platform === 'linux' ? '/dev/shm' : tmpdir();
}

interface Place {
  readonly directory: string;
  readonly progress: FileHandle;
  readonly limits: Limits;
}

async function supervise(order: Campaign, place: Place): Promise<ChildReport> {
  const { target, corpus, seed, count, signal } = order;
  const { name, module } = target;
  const child = fork(new URL('child.ts', import.meta.url), {
    execArgv: ['--expose-gc', `--max-old-space-size=${place.limits.heapMiB}`],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc', place.progress.fd],
    signal,
  });
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr = (stderr + String(chunk)).slice(-4_000);
  });
  let report: ChildReport | undefined;
  child.on('message', (message: ChildReport) => {
    report = message;
  });
  using watchdog = new Watchdog(child, place);
  const { directory } = place;
  child.send({ module, target: name, seed, first: 0, count, corpus, directory, progress: 4 });
  const [code, killedBy] = (await once(child, 'exit')) as [number | null, string | null];
  signal.throwIfAborted();
  if (report !== undefined && !watchdog.hung) return report;
  const how = watchdog.hung
    ? `no end within ${place.limits.hangMs / 1000} s`
    : `the process ended with ${code ?? killedBy}: ${stderr.trim()}`;
  const broken = { index: (await inputUnderWay(place.progress)) ?? 0, complaint: how };
  return { outcomes: [], broken: [broken], slowestMs: 0, cpuSeconds: 0, peakMiB: 0, growthMiB: 0 };
}

/** Kills the child when the number in the file stops changing. */
class Watchdog implements Disposable {
  hung = false;
  readonly #timer: NodeJS.Timeout;
  #seen: number | undefined;
  #since = performance.now();

  constructor(child: ChildProcess, { progress, limits }: Place) {
    const look = async (): Promise<void> => {
      const index = await inputUnderWay(progress);
      // The time to load the modules does not count.
      if (index === undefined || index !== this.#seen) {
        this.#seen = index;
        this.#since = performance.now();
      }
      if (performance.now() - this.#since <= limits.hangMs) return;
      this.hung = true;
      child.kill('SIGKILL');
    };
    this.#timer = setInterval(() => void look(), Math.min(limits.hangMs / 4, 500));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Undefined before the first input. */
async function inputUnderWay(progress: FileHandle): Promise<number | undefined> {
  const index = new Float64Array(1);
  const { bytesRead } = await progress.read(index, 0, 8, 0);
  return bytesRead === 0 ? undefined : index[0];
}

/** Recreates the input from its number, with the command that repeats it. */
async function describe(
  { target, corpus, seed }: Campaign,
  { index, complaint }: Broken,
): Promise<string> {
  const input = Buffer.from(target.generator(corpus)(new Random(seed, index))).toString('base64');
  let given = input;
  if (input.length > 8_192) {
    const name = target.name.replaceAll(' ', '-');
    given = join(tmpdir(), `nodecertd-fuzz-${name}-${seed}-${index}.base64`);
    await writeFile(given, input);
  }
  return `  input ${index}: ${complaint}\n    node test/fault/fuzz/repeat.ts '${target.name}' ${given}`;
}

function memoryComplaints({ peakMiB, growthMiB }: ChildReport, limits: Limits): string[] {
  return [
    ...(peakMiB > limits.peakMiB ? [`  needed ${peakMiB.toFixed(0)} MiB at its peak`] : []),
    ...(growthMiB > limits.growthMiB
      ? [`  the live heap grew by ${growthMiB.toFixed(1)} MiB over the second half`]
      : []),
  ];
}
