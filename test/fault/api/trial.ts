import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../../src/core/instant.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import type { LogLine, TestAgent, TestNode } from '../../support/agent.ts';
import { client, serving } from '../../support/agent.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { SettableClock } from '../clock/settable-clock.ts';
import { Reader } from '../crash/reader.ts';
import type { ApiFault, FaultContext } from './fault.ts';
import { EnrollerMemory } from './memory.ts';
import {
  failuresCounted,
  requestsPerMinute,
  requireAsked,
  requireFewCsrs,
  requireGranted,
  requireMemory,
  requireStanding,
} from './proofs.ts';
import { createProxiedNode } from './proxied-node.ts';
import type { ApiBench, ApiTrial, Stage } from './stage.ts';
import { scaled } from '../../support/machine-speed.ts';

export interface ApiOutcome {
  /** Seconds from the end of the fault to the new pair, on the agent's clock. */
  readonly recovery: number;
  /** Log events and metrics. */
  readonly seen: readonly string[];
  /** Requests in the busiest minute. */
  readonly busiest: number;
  /** The largest resident set of an enroller in bytes, if measured. */
  readonly memory?: number;
}

/**
 * Runs one agent through one fault and its end.
 * @throws Error with the agent's log if a promise was broken
 */
export async function tryFault(bench: ApiBench, trial: ApiTrial): Promise<ApiOutcome> {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await startProxy(bench));
  const node = stack.use(await createNode(bench, trial, proxy));
  const reader = stack.use(new Reader(node, trial.situation === 'rotation'));
  const clock = stack.use(new SettableClock());
  const stage: Stage = { bench, trial, proxy, node, clock };
  await trial.fault.begin(contextOf(stage));
  const env = { ...bench.start.env, ...(trial.fault.longWait === true && clock.env) };
  const agent = node.start({ ...bench.start, env });
  try {
    const outcome = await play(stage, agent);
    if (reader.losses.length > 0) throw new Error(`a reader failed: ${reader.losses[0]}`);
    return outcome;
  } catch (error) {
    throw new Error(`${describe(trial)}: ${String(error)}\n${story(agent, proxy)}`, {
      cause: error,
    });
  }
}

async function startProxy({ controlPlane, adminPair, issuer }: ApiBench): Promise<FaultProxy> {
  const { server, caPem } = controlPlane;
  return FaultProxy.start({
    server,
    caPem,
    admin: adminPair,
    clientCas: [caPem, issuer.caPem],
    serving: await issuer.serving('known'),
  });
}

function createNode(
  { controlPlane, issuer }: ApiBench,
  { name, situation, fault }: ApiTrial,
  { server }: FaultProxy,
): Promise<TestNode> {
  return createProxiedNode({
    controlPlane,
    issuer,
    name,
    situation,
    serving: fault.serving === true,
    server,
  });
}

function contextOf(stage: Stage): FaultContext {
  const { bench, trial, proxy, clock } = stage;
  const { place } = trial;
  return {
    ...bench,
    proxy,
    place,
    agentNow: () => clock.now(),
    setAgentClock: (moment) => setClock(stage, moment),
  };
}

async function play(stage: Stage, agent: TestAgent): Promise<ApiOutcome> {
  const { trial, proxy, clock, bench } = stage;
  const { fault } = trial;
  using memory = new EnrollerMemory(agent.pid);
  const done = new AbortController();
  const approving = approveServing(agent, bench.controlPlane, done.signal);
  try {
    const failure = await meet(stage, agent);
    await fault.meanwhile?.(contextOf(stage));
    await requireStanding(stage);
    const over = clock.now();
    proxy.set(undefined);
    await fault.end?.(contextOf(stage));
    if (fault.longWait === true && fault.resumes !== true) await passWait(stage, agent);
    await stored(agent, nameOf(fault));
    const recovery = (clock.now() - over) / second;
    if (failure !== undefined) await requireCountedAndRemedied(agent, failure);
    const seen = await requireAllClear(agent);
    for (const event of fault.events ?? []) seen.push(requireLine(agent, event));
    await requireGranted(stage);
    await requireFewCsrs(stage);
    requireAsked(stage);
    const busiest = await requestsPerMinute(stage, agent);
    if (fault.memory !== true) return { recovery, seen, busiest };
    requireMemory(memory.peak);
    return { recovery, seen, busiest, memory: memory.peak };
  } finally {
    done.abort();
    await approving;
  }
}

/** Waits until enough requests have met the fault, and the log names it. */
async function meet(stage: Stage, agent: TestAgent): Promise<LogLine | undefined> {
  const { trial, proxy } = stage;
  const { codes, meets = 1 } = trial.fault;
  const limit = performance.now() + scaled(2 * minute);
  for (;;) {
    const failure = agent.lines.find(
      (line) => reportsFailure(line) && codes.some((code) => code === line['code']),
    );
    if (proxy.met >= meets && (codes.length === 0 || failure !== undefined)) return failure;
    if (performance.now() > limit || agent.ended) {
      throw new Error(
        `${proxy.met} requests met the fault, and the log does not contain ${codes.join(' or ')}`,
      );
    }
    await delay(10);
  }
}

const failureEvents: ReadonlySet<string> = new Set(['rotation_failed', 'csr_wait_retrying']);

function reportsFailure({ event }: LogLine): boolean {
  return failureEvents.has(event);
}

/** Sets the clock to the retry time in the log. */
async function passWait(stage: Stage, agent: TestAgent): Promise<void> {
  const failed = await agent.event('rotation_failed', nameOf(stage.trial.fault));
  await setClock(stage, Date.parse(String(failed['retryAt'])) + second);
}

/**
 * The agent checks the clock once a minute, or at once when a watched file changes.
 * This file cannot help an attempt that failed for other reasons.
 */
async function setClock({ clock, node }: Stage, moment: number): Promise<void> {
  clock.set(moment);
  await utimes(join(node.directory, 'bootstrap.conf'), new Date(), new Date());
}

/** The agent notices a silent watch with a poll, after minutes. */
async function stored(agent: TestAgent, certificate: string): Promise<void> {
  const limit = performance.now() + scaled(9 * minute);
  while (agent.all('certificate_stored', certificate).length === 0) {
    if (performance.now() > limit || agent.ended) throw new Error('no new pair was stored');
    await delay(10);
  }
}

/** Checks that the metrics count the code and the log has a remedy. */
async function requireCountedAndRemedied(agent: TestAgent, failure: LogLine): Promise<void> {
  const { event, code, remedy, certificate = '' } = failure;
  if (typeof remedy !== 'string' || remedy === '') throw new Error(`${event} has no remedy`);
  const counted = await failuresCounted(agent, certificate, String(code));
  if (counted < 1) throw new Error(`the metrics count no failure with the code ${String(code)}`);
}

/** Waits until the log reports the recovery. Returns all events of the failure. */
async function requireAllClear(agent: TestAgent): Promise<string[]> {
  const [failed] = agent.all('rotation_failed');
  if (failed !== undefined) await agent.event('rotation_recovered', failed.certificate);
  const lines = agent.lines.filter(
    (line) => reportsFailure(line) || line.event === 'rotation_recovered',
  );
  return [...new Set(lines.map(({ event, code }) => [event, code].filter(Boolean).join(' ')))];
}

function requireLine(agent: TestAgent, event: LogEvent): string {
  const lines = agent.all(event).filter(({ remedy }) => typeof remedy === 'string');
  if (lines.length === 0) throw new Error(`no line ${event} with a remedy`);
  return `${event} (${lines.length})`;
}

/** Approves serving CSRs, which neither control plane does. */
async function approveServing(
  agent: TestAgent,
  controlPlane: ControlPlane,
  signal: AbortSignal,
): Promise<void> {
  let approved = 0;
  while (!signal.aborted) {
    const [created] = agent.all('csr_created', serving.name).slice(approved);
    if (created !== undefined) {
      approved += 1;
      await controlPlane.approve(String(created['csr']));
    }
    await delay(20);
  }
}

function nameOf({ serving: alsoServing = false }: ApiFault): string {
  return alsoServing ? serving.name : client.name;
}

export function describe({ fault, situation, place }: ApiTrial): string {
  return `${fault.name}, at ${place}, ${situation}`;
}

function story(agent: TestAgent, { seen, connections }: FaultProxy): string {
  const requests = seen.map(({ verb, met, at }) => `${verb}${met ? '*' : ''} ${at.toFixed(0)}`);
  const log = agent.lines.map((line) => JSON.stringify(line));
  return [...log.slice(-40), `${connections.length} connections, ${requests.join(', ')}`].join(
    '\n',
  );
}
