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

/** Long use: rotations one after the other, and a loop that has nothing to do. */
export const soak: FaultFamily = {
  name: 'soak',
  needs: [],
  async *run(options) {
    yield await rotations(options);
    yield await idleTicks(options);
    if (options.thorough) yield await realTime(options);
  },
};

/** Due after 50 to 70 seconds, so that the loop looks once or twice in between. */
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

/** The keeper that is measured here runs as it is released, with real processes beside it; that takes its time. */
async function realTime({ progress, signal }: FaultOptions): Promise<FaultRow> {
  const wanted = 200;
  progress(`${wanted} rotations of the released agent in real time`);
  const samples = await observeProcesses(wanted, signal);
  return judged(`${wanted} rotations of the released agent`, samples, 'rotation');
}

/**
 * The keeper has no compiler in its release. With one, the heap grows for hundreds of
 * rotations by the code of functions that become hot, and hides what else would grow.
 */
const execArgv = ['--no-opt', '--no-maglev', '--no-sparkplug'];

/** Runs the subject to its end; the cluster's clock goes along with its. */
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
      // What comes before the ticks is their warm-up.
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
 * What one rotation, or tick, may add, and what the whole run may be off by. Of things
 * that are counted, one in a thousand would be a leak. The least that could be
 * forgotten of a rotation is a pair's facts or a request with its closures, upwards of
 * half a KiB of heap; what V8 itself learns of the code adds 20 KiB at a time, and
 * seldomer the longer it runs. RssAnon moves in pages and in arenas, by 200 KiB where
 * nothing was allocated, and by some MiB in a process that is not quiet.
 */
const limits = {
  fileDescriptors: { each: 0.001, noise: 2 },
  timers: { each: 0.001, noise: 1 },
  listeners: { each: 0.001, noise: 1 },
  heap: { each: 256, noise: 128 * 1024 },
  anonymous: { each: 512, noise: 4 * 1024 * 1024 },
} as const;

/** Until then code is loaded, compiled and cached. */
const warmUp = 60;

type Measure = keyof typeof limits;

const measures = Object.keys(limits) as readonly Measure[];

type Measured = Readonly<{ count: number } & Partial<Record<Measure, number>>>;

/** @throws Error when something grows */
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
      throw new Error(`${fault}: ${measure} grows by ${slope.toFixed(4)} a ${unit}: ${course}`);
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
