import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ApproverPlane } from '../support/approver-plane.ts';
import { Child } from '../support/child.ts';
import type { ApproverLoad } from './approver-load.ts';
import { prepareCsrs } from './approver-load.ts';
import type { ApproverPlace, ApproverProgram } from './approver-programs.ts';
import { DecisionWatch } from './decision-watch.ts';
import { processUsage } from './process-usage.ts';

/** A control plane with Nodes, and with CSRs that are decided. */
export interface ApproverScene {
  readonly cluster: ApproverPlane;
  readonly load: ApproverLoad;
  readonly place: ApproverPlace;
  readonly nodes: number;
  readonly restSeconds: number;
}

/** One run of a program that finds pending CSRs at its start, until it has decided all of them. */
export interface ApproverRun {
  /** From the start of the process to the first and the last decision. */
  readonly firstSeconds: number;
  readonly allSeconds: number;
  readonly perSecond: number;
  readonly cpuSeconds: number;
  /** The largest anonymous RSS in MB. */
  readonly peakRssAnon: number;
  /** After a rest. */
  readonly restRssAnon: number;
  /** Requests about single CSRs, by the audit log. */
  readonly csrRequests: number;
  /** Lists, watches, Nodes, Leases and Events. */
  readonly otherRequests: number;
  /** `name outcome` of each CSR, sorted. */
  readonly outcomes: readonly string[];
}

export function startProgram(
  program: ApproverProgram,
  { place }: ApproverScene,
  args = program.args(place),
): Child {
  const logFile = join(place.directory, `${program.name}-${randomUUID()}.log`);
  return new Child({ name: program.name, command: program.command, args, logFile });
}

export async function decidePending(
  scene: ApproverScene,
  program: ApproverProgram,
  csrs = prepareCsrs({ prefix: 'pending', count: scene.nodes, nodes: scene.nodes }),
): Promise<ApproverRun> {
  const { cluster, load } = scene;
  await load.create(csrs);
  const since = Date.now();
  await using watch = await DecisionWatch.start(cluster.plane.admin);
  const startedAt = performance.now();
  await using child = startProgram(program, scene);
  using memory = new MemoryWatch(child.pid);
  await watch.decided(csrs.length, child);
  const { cpuSeconds } = processUsage(child.pid);
  const { peak: peakRssAnon } = memory;
  await delay(scene.restSeconds * 1_000);
  const { mainRssAnon: restRssAnon } = processUsage(child.pid);
  await child.stop();
  const times = [...watch.decisions.values()].map(({ at }) => (at - startedAt) / 1_000);
  const firstSeconds = Math.min(...times);
  const allSeconds = Math.max(...times);
  const requests = (await cluster.requests()).filter(({ receivedAt }) => receivedAt >= since);
  const csrRequests = requests.filter(
    ({ resource, name }) => name !== undefined && resource.startsWith('certificatesigningrequests'),
  ).length;
  await load.deleteOthers();
  return {
    firstSeconds,
    allSeconds,
    perSecond: (csrs.length - 1) / (allSeconds - firstSeconds),
    cpuSeconds,
    peakRssAnon,
    restRssAnon,
    csrRequests,
    otherRequests: requests.length - csrRequests,
    outcomes: [...watch.decisions].map(([name, { outcome }]) => `${name} ${outcome}`).toSorted(),
  };
}

/** Samples the anonymous RSS of a process. */
class MemoryWatch implements Disposable {
  peak = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#timer = setInterval(() => {
      this.peak = Math.max(this.peak, processUsage(pid).mainRssAnon);
    }, 100);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
