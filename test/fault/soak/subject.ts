import { getEventListeners, once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { discoverCluster } from '../../../src/discovery/discover-cluster.ts';
import { checkNodeAtStart } from '../../../src/doctor/check-at-start.ts';
import type { ChildListener, EnrollerChild } from '../../../src/keeper/enroller-link.ts';
import { Keeper } from '../../../src/keeper/keeper.ts';
import { HookJournal } from '../../../src/keeper/hook-journal.ts';
import { RequestJournal } from '../../../src/keeper/request-journal.ts';
import { StateKeeper } from '../../../src/app/state-keeper.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { minute, second } from '../../../src/core/instant.ts';
import { Enroller } from '../../../src/enroller/enroller.ts';
import { AgentMetrics } from '../../../src/metrics/agent-metrics.ts';
import { readState } from '../../../src/store/state-file.ts';
import { createLogger } from '../../../src/sys/log.ts';
import { releaseMemory } from '../../../src/sys/memory.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import type { Sample, SubjectMessage, SubjectOrder } from './protocol.ts';
import { scaled } from '../../support/machine-speed.ts';

/**
 * The agent as `runAgent` composes it, on a fake clock and with the enroller in the
 * same process. Both are measured at once, and a leak of the enroller stays visible
 * after its end. Requests, files and keys are real.
 */
const order = JSON.parse(process.argv[2] ?? '') as SubjectOrder;
const clock = new FakeClock(Date.now());
const config = await loadConfig({
  file: order.configFile,
  flags: {},
  environment: { hostName: 'soak', workingDirectory: '/' },
});
const stop = new AbortController();
const { state } = await readState(config.stateDirectory);
await using stateKeeper = new StateKeeper({
  directory: config.stateDirectory,
  state,
  clock,
  logger: createLogger({ ...config.log, level: 'error' }),
});
const metrics = new AgentMetrics({
  status: () => keeper.status(),
  health: () => keeper,
  kubeletNames: () => true,
});
const keeper: Keeper = new Keeper({
  config,
  version: 'soak',
  clock,
  random: () => 0.5,
  interfaces: () => ['10.0.0.1'],
  launch,
  logger: createLogger({ ...config.log, level: 'error' }),
  observer: metrics,
  hookJournal: new HookJournal({}, () => undefined),
  journal: new RequestJournal({}, (requests) => stateKeeper.setOutstanding(requests)),
  releaseMemory: () => undefined,
});
const running = keeper.run(stop.signal);
await rotate();
await idle();
stop.abort();
await running;
process.disconnect?.();

async function rotate(): Promise<void> {
  await settled();
  for (let next = 0; rotations() < order.rotations;) {
    if (rotations() >= next) {
      next = rotations() + order.every;
      // Waits until the idle enroller is stopped, as between real rotations.
      await quiet();
      await measured('rotations', rotations());
    }
    await pass();
    await settled();
  }
  await quiet();
  await measured('rotations', rotations());
}

/** Runs a tick and a scrape for each minute. */
async function idle(): Promise<void> {
  for (let tick = 0; order.ticks > 0 && tick <= order.ticks; tick += 1) {
    if (tick % order.every === 0) await measured('ticks', tick);
    await loopSleeps();
    await clock.advance(minute);
    await metrics.render();
  }
}

function rotations(): number {
  return keeper.status().certificates.reduce((sum, { rotations }) => sum + rotations, 0);
}

/**
 * Moves to the first deadline. The cluster's clock moves first, because it must not
 * sign for a past time.
 */
async function pass(): Promise<void> {
  const { certificates } = keeper.status();
  const to = Math.min(...certificates.map(({ rotationDeadline = 0 }) => rotationDeadline));
  await send({ type: 'advance', to });
  await loopSleeps();
  await clock.advance(to - clock.now());
}

/** Waits until every certificate is new. Meanwhile, time passes on the fake clock. */
async function settled(): Promise<void> {
  await until('new certificates', () => {
    const now = clock.now();
    return keeper
      .status()
      .certificates.every(
        ({ state, rotationDeadline = 0 }) => state === 'valid' && rotationDeadline > now,
      );
  });
}

async function quiet(): Promise<void> {
  await until('an end of the enroller', () => keeper.enrollerPid === undefined);
  // Connections close in the next turns of the event loop.
  await delay(second / 10);
}

async function loopSleeps(): Promise<void> {
  await until('a pause of the loop', () => clock.sleeping > 0);
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + scaled(minute);
  while (!condition()) {
    if (performance.now() > end) {
      throw new Error(`did not reach ${what}: ${JSON.stringify(keeper.status())}`);
    }
    await delay(1);
    await clock.advance(1);
  }
}

/**
 * An enroller that ends when its channel closes, after it has closed its connections
 * and wiped its keys.
 */
function launch(listener: ChildListener): EnrollerChild {
  const enroller = new Enroller({
    config,
    version: 'soak',
    clock,
    random: () => 0.5,
    interfaces: () => ['10.0.0.1'],
    checkNode: checkNodeAtStart,
    discover: discoverCluster,
    report: (report) => setImmediate(() => listener.onMessage(report)),
  });
  const alive = setInterval(() => listener.onMessage({ type: 'alive' }), 3 * second);
  const end = async (): Promise<void> => {
    clearInterval(alive);
    await enroller[Symbol.asyncDispose]();
    listener.onExit('exit code 0');
  };
  return {
    pid: process.pid,
    send: (command) => setImmediate(() => enroller.handle(command)),
    disconnect: () => void end(),
    kill: () => void end(),
  };
}

async function measured(type: 'rotations' | 'ticks', count: number): Promise<void> {
  await loopSleeps();
  releaseMemory();
  const sample: Sample = {
    count,
    fileDescriptors: readdirSync('/proc/self/fd').length,
    timers: timers(),
    listeners: listeners(),
    heap: process.memoryUsage().heapUsed,
    anonymous: anonymousBytes(),
  };
  await send({ type, sample });
}

/** The sleeps on the fake clock and the real timers. */
function timers(): number {
  const real = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout');
  return clock.sleeping + real.length;
}

function listeners(): number {
  const own = process.eventNames().map((name) => process.listenerCount(name));
  return getEventListeners(stop.signal, 'abort').length + own.reduce((sum, one) => sum + one, 0);
}

function anonymousBytes(): number {
  const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Settles when the parent has processed the message. */
async function send(message: SubjectMessage): Promise<void> {
  const answered = once(process, 'message');
  process.send?.(message);
  await answered;
}
