import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { client, serving, TestNode } from '../support/agent.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import { observeProcesses } from './soak/processes.ts';
import type { Sample, SubjectMessage, SubjectOrder } from './soak/protocol.ts';
import { slopeOf } from './soak/regression.ts';

/** Long use: many rotations, and an idle agent. */
export const soak: FaultFamily = {
  name: 'soak',
  needs: [],
  async *run(options) {
    yield await rotations(options);
    yield await idleTicks(options);
    if (options.thorough) yield await realTime(options);
  },
};

/** Due after 50 to 70 seconds, so that there are one or two ticks in between. */
const shortLived = 75;
const year = 365 * 86_400;
const dayOfTicks = 1_440;

async function rotations(options: FaultOptions): Promise<FaultRow> {
  const wanted = options.thorough ? 5_000 : 100;
  options.progress(`${wanted} rotations`);
  const samples = await observe({
    signingSeconds: shortLived,
    order: { rotations: wanted, ticks: 0, every: options.thorough ? 50 : 5 },
    options,
  });
  return judged(`${wanted} rotations in a row`, samples, 'rotation');
}

async function idleTicks(options: FaultOptions): Promise<FaultRow> {
  options.progress('a day of idle ticks');
  const samples = await observe({
    signingSeconds: year,
    order: { rotations: 2, ticks: dayOfTicks, every: dayOfTicks / 48 },
    options,
  });
  return judged(`a day of idle ticks`, samples, 'tick');
}

/** The keeper runs in its released form with real processes, which takes long. */
async function realTime({ progress, signal }: FaultOptions): Promise<FaultRow> {
  const wanted = 200;
  progress(`${wanted} rotations of the released agent in real time`);
  const samples = await observeProcesses(wanted, signal);
  return judged(`${wanted} rotations of the released agent`, samples, 'rotation');
}

/**
 * The released keeper runs without a JIT compiler. Compiled code would grow the heap
 * over hundreds of rotations and hide a leak.
 */
const execArgv = ['--no-opt', '--no-maglev', '--no-sparkplug'];

/** Runs the subject to its end. The clock of the cluster follows the subject's clock. */
async function observe({
  signingSeconds,
  order,
  options,
}: {
  readonly signingSeconds: number;
  readonly order: Omit<SubjectOrder, 'configFile'>;
  readonly options: FaultOptions;
}): Promise<readonly Sample[]> {
  const clock = new FakeClock(Date.now());
  await using controlPlane = await startSandboxControlPlane({
    signingSeconds,
    approvingServing: true,
    clock,
  });
  const addresses = { from: 'static', dnsNames: ['soak'], ipAddresses: ['10.0.0.1'] };
  await using node = await TestNode.create(controlPlane, 'soak', {
    certificates: [client, { ...serving, addresses }],
  });
  const samples: Sample[] = [];
  const subject = join(import.meta.dirname, 'soak/subject.ts');
  const child = fork(subject, [JSON.stringify({ ...order, configFile: node.configFile })], {
    execArgv,
  });
  const end = (): void => void child.kill('SIGKILL');
  options.signal.addEventListener('abort', end, { once: true });
  child.on('message', (message: SubjectMessage) => {
    void (async () => {
      if (message.type === 'advance') await clock.advance(message.to - clock.now());
      // Everything before the ticks is their warm-up.
      else if (order.ticks === 0 || message.type === 'ticks') samples.push(message.sample);
      child.send('done', () => undefined);
    })();
  });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  options.signal.removeEventListener('abort', end);
  if (code !== 0) throw new Error(`the subject ended with ${code ?? signal}`);
  return samples;
}

/**
 * The allowed growth per rotation or tick, and the allowed error of the whole run. For
 * counted things, one in a thousand is a leak. The smallest leak of a rotation would be
 * a pair's facts or a CSR with its closures, at least half a KiB of heap. V8's own data
 * about the code grows by 20 KiB at a time, less often the longer it runs. RssAnon
 * changes in pages and arenas: by 200 KiB without allocations, and by some MiB in a
 * busy process.
 */
const limits = {
  fileDescriptors: { each: 0.001, noise: 2 },
  timers: { each: 0.001, noise: 1 },
  listeners: { each: 0.001, noise: 1 },
  heap: { each: 256, noise: 128 * 1024 },
  anonymous: { each: 512, noise: 4 * 1024 * 1024 },
} as const;

/** Until then, code is loaded, compiled and cached. */
const warmUp = 60;

type Measure = keyof typeof limits;

const measures = Object.keys(limits) as readonly Measure[];

type Measured = Readonly<{ count: number } & Partial<Record<Measure, number>>>;

/** @throws Error if something grows */
function judged(fault: string, samples: readonly Measured[], unit: string): FaultRow {
  const last = samples.at(-1);
  const warm = Math.max((last?.count ?? 0) / 5, warmUp);
  const steady = samples.filter(({ count }) => count >= warm);
  if (last === undefined || steady.length < 8) throw new Error(`${fault}: too few samples`);
  const range = last.count - (steady[0]?.count ?? 0);
  const seen = measures.flatMap((measure) => {
    const points = steady.map(({ count, [measure]: y }) => ({ x: count, y: y ?? NaN }));
    if (last[measure] === undefined) return [];
    const slope = slopeOf(points);
    const { each, noise } = limits[measure];
    if (!(slope <= each + noise / range)) {
      const course = samples.map((sample) => `${sample.count}:${sample[measure]}`).join(' ');
      throw new Error(`${fault}: ${measure} grows by ${slope.toFixed(4)} per ${unit}: ${course}`);
    }
    return [`${measure} ${describe(last[measure])} ${sign(slope)}/${unit}`];
  });
  return { fault, tried: last.count, lost: 0, seen };
}

function describe(value: number): string {
  return value > 10_000 ? `${(value / 1024 / 1024).toFixed(1)} MiB` : String(value);
}

function sign(slope: number): string {
  const digits = Math.abs(slope) < 1 ? 4 : 0;
  return `${slope < 0 ? '' : '+'}${slope.toFixed(digits)}`;
}
