import { setTimeout as delay } from 'node:timers/promises';
import type { Child } from '../support/child.ts';
import { prepareCsrs } from './approver-load.ts';
import type { Fault } from './approver-load.ts';
import type { ApproverProgram } from './approver-programs.ts';
import type { ApproverRun, ApproverScene } from './approver-run.ts';
import { decidePending, startProgram } from './approver-run.ts';
import { DecisionWatch } from './decision-watch.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

/** Starts each program with the same number of pending CSRs, one after the other. */
export async function measureThroughput(
  scene: ApproverScene,
  programs: readonly ApproverProgram[],
  { pending, what }: { readonly pending: number; readonly what: string },
): Promise<Row[]> {
  const runs: ApproverRun[] = [];
  for (const program of programs) {
    const csrs = prepareCsrs({ prefix: 'pending', count: pending, nodes: scene.nodes });
    runs.push(await decidePending(scene, program, csrs));
  }
  const row = (label: string, pick: (run: ApproverRun) => number, digits = 1): Row => ({
    label: `${what}: ${label}`,
    values: runs.map(pick),
    digits,
  });
  return [
    row('process start → first decision, s', ({ firstSeconds }) => firstSeconds, 2),
    row('process start → all decided, s', ({ allSeconds }) => allSeconds),
    row('decisions per second', ({ perSecond }) => perSecond, 0),
    row('CPU per decision, ms', ({ cpuSeconds }) => (cpuSeconds * 1_000) / pending, 2),
    row('peak RssAnon, MB', ({ peakRssAnon }) => peakRssAnon),
    row(`RssAnon ${scene.restSeconds} s later, MB`, ({ restRssAnon }) => restRssAnon),
    row('API requests per decision', ({ csrRequests }) => csrRequests / pending, 3),
    row('other API requests', ({ otherRequests }) => otherRequests, 0),
  ];
}

/** Creates CSRs one by one while the programs have nothing else to do. */
export async function measureLatency(
  scene: ApproverScene,
  programs: readonly ApproverProgram[],
  count: number,
): Promise<Row[]> {
  const times: number[][] = [];
  for (const program of programs) {
    times.push(program.name === 'raw' ? [] : await latencies(scene, program, count));
  }
  return [
    { label: 'created → Approved, ms (median)', values: times.map(median) },
    { label: 'created → Approved, ms (p99)', values: times.map(percentile99) },
  ];
}

async function latencies(
  scene: ApproverScene,
  program: ApproverProgram,
  count: number,
): Promise<number[]> {
  const { cluster, load, nodes } = scene;
  await using watch = await DecisionWatch.start(cluster.plane.admin);
  await using child = startProgram(program, scene);
  const csrs = prepareCsrs({ prefix: 'single', count: count + 1, nodes });
  for (const csr of csrs) {
    await load.createOne(csr);
    await watch.decision(csr.name, child);
    await delay(20);
  }
  await load.deleteOthers();
  // The first one waited for the start of the program.
  return csrs.slice(1).map(({ name }) => {
    const { at } = watch.decisions.get(name) ?? { at: Number.NaN };
    return at - (watch.createdAt.get(name) ?? Number.NaN);
  });
}

/**
 * The leader ends or stops, and a CSR is created at that moment: the time until it is approved.
 * @throws Error if a leader that continues later writes to a CSR that another one has decided
 */
export async function measureFailOver(
  scene: ApproverScene,
  programs: readonly ApproverProgram[],
  repetitions: number,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGTERM'] as const) {
    const times: number[][] = [];
    for (const program of programs) {
      times.push(await failOvers(scene, program, { signal, repetitions }));
    }
    rows.push(
      { label: `fail-over after ${signal}, s (median)`, values: times.map(median) },
      {
        label: `fail-over after ${signal}, s (most)`,
        values: times.map(
          (all) => all.toSorted((left, right) => left - right).at(-1) ?? Number.NaN,
        ),
      },
    );
  }
  return rows;
}

async function failOvers(
  scene: ApproverScene,
  program: ApproverProgram,
  { signal, repetitions }: { readonly signal: NodeJS.Signals; readonly repetitions: number },
): Promise<number[]> {
  const args = program.electing?.(scene.place);
  if (args === undefined) return [];
  const { cluster, load, nodes } = scene;
  await using watch = await DecisionWatch.start(cluster.plane.admin);
  // The audit log has the requests of all phases, so each phase has names of its own.
  const prefix = `${program.name}-${signal.toLowerCase()}`;
  const csrs = prepareCsrs({ prefix, count: repetitions + 1, nodes });
  await using replicas = new AsyncDisposableStack();
  const start = (): Child => replicas.use(startProgram(program, scene, args));
  const times: number[] = [];
  let leader = start();
  let former: Child | undefined;
  for (const [round, csr] of csrs.entries()) {
    const at = performance.now();
    await load.createOne(csr);
    const decision = await watch.decision(csr.name, leader);
    if (round > 0) times.push((decision.at - at) / 1_000);
    if (signal === 'SIGSTOP' && former !== undefined) await endStopped(former);
    if (round === repetitions) break;
    const standby = start();
    // It has to see the Lease before the leader ends.
    await delay(standbySeconds * 1_000);
    process.kill(leader.pid, signal);
    [former, leader] = [leader, standby];
  }
  for (const { name } of csrs) {
    const writes = await cluster.writesTo(name);
    if (writes.length > 1) throw new Error(`${writes.length} decisions about ${name}`);
  }
  await load.deleteOthers();
  return times;
}

const standbySeconds = 6;

/** Lets a stopped leader continue for a moment, in which it has to notice that it no longer leads. */
async function endStopped(leader: Child): Promise<void> {
  process.kill(leader.pid, 'SIGCONT');
  await delay(standbySeconds * 1_000);
  await leader.stop();
}

/**
 * Decides the same CSRs twice, of which some are denied.
 * @throws Error unless each CSR has one decision, which is the same in both runs
 */
export async function compareRuns(
  scene: ApproverScene,
  programs: readonly ApproverProgram[],
  count: number,
): Promise<Row[]> {
  const [program] = programs;
  if (program === undefined) return [];
  const faults: readonly Fault[] = ['name', 'lifetime', 'usage'];
  const faultOf = (index: number): Fault | undefined => faults[index % 10];
  const csrs = prepareCsrs({ prefix: 'twice', count, nodes: scene.nodes, faultOf });
  const first = await decidePending(scene, program, csrs);
  const second = await decidePending(scene, program, csrs);
  for (const { csrRequests } of [first, second]) {
    if (csrRequests !== count) throw new Error(`${csrRequests} requests for ${count} decisions`);
  }
  if (JSON.stringify(first.outcomes) !== JSON.stringify(second.outcomes)) {
    throw new Error(`two runs decide ${count} CSRs differently`);
  }
  const denied = first.outcomes.filter((outcome) => outcome.includes('Denied')).length;
  return [
    { label: 'CSRs with the same decision in two runs', values: [count], digits: 0 },
    { label: '… of them denied', values: [denied], digits: 0 },
  ];
}

function percentile99(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
}
