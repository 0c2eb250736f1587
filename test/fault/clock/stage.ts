import { appendFile, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '../../../src/core/errors.ts';
import { minute, second } from '../../../src/core/instant.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import type { AgentStart, LogLine, TestAgent } from '../../support/agent.ts';
import { client, servingStatic, TestNode } from '../../support/agent.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import { startSandboxControlPlane } from '../../support/sandbox-control-plane.ts';
import type { FaultRow } from '../family.ts';
import { PairReader } from './pair-reader.ts';
import { SettableClock } from './settable-clock.ts';
import { scaled } from '../../support/machine-speed.ts';

export interface StageOptions {
  readonly name: string;
  /** Lifetime of issued certificates in seconds. */
  readonly signingSeconds: number;
  /** The environment of the clock is added. */
  readonly start: AgentStart;
  /** Whether to wait for the agent's tick, or to trigger it at each change. */
  readonly unhurried: boolean;
}

/** A log line: its event, certificate and code. */
export type Wanted = readonly [event: LogEvent, certificate?: string, code?: ErrorCode];

const certificates = [client, servingStatic];
const names = certificates.map(({ name }) => name);

/** The agent checks the clock once a minute. The slack is for the load of this machine. */
const promised = minute;
const slack = scaled(10 * second);

/** A node and a cluster with separate clocks, an agent, and a reader. */
export class ClockStage implements AsyncDisposable {
  readonly machine: SettableClock;
  readonly cluster: SettableClock;
  readonly controlPlane: ControlPlane;
  readonly node: TestNode;
  readonly #options: StageOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #reader: PairReader;
  #agent: TestAgent | undefined;
  readonly #seen = new Set<string>();
  #recovery = 0;

  private constructor(
    options: StageOptions,
    parts: Pick<ClockStage, 'machine' | 'cluster' | 'controlPlane' | 'node'>,
    stack: AsyncDisposableStack,
  ) {
    this.machine = parts.machine;
    this.cluster = parts.cluster;
    this.controlPlane = parts.controlPlane;
    this.node = parts.node;
    this.#options = options;
    this.#stack = stack;
    this.#reader = stack.use(new PairReader(names.map((name) => parts.node.current(name))));
  }

  static async open(options: StageOptions): Promise<ClockStage> {
    await using stack = new AsyncDisposableStack();
    const machine = stack.use(new SettableClock());
    const cluster = stack.use(new SettableClock());
    const controlPlane = stack.use(
      await startSandboxControlPlane({
        signingSeconds: options.signingSeconds,
        approvingServing: true,
        clock: cluster,
      }),
    );
    const node = stack.use(await TestNode.create(controlPlane, options.name, { certificates }));
    return new ClockStage(options, { machine, cluster, controlPlane, node }, stack.move());
  }

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  start(): void {
    const { env, ...rest } = this.#options.start;
    this.#agent = this.node.start({ ...rest, env: { ...env, ...this.machine.env } });
  }

  /** Starts the agent with a correct clock, and waits until it has all pairs and is idle. */
  async bootstrap(): Promise<void> {
    this.start();
    for (const name of names) await this.agent.event('rotation_deadline', name);
    await this.asleep();
  }

  /** Waits until the enroller has exited, which could cause an early tick. */
  async asleep(): Promise<void> {
    while ((await this.enrollers()).length > 0) await delay(100);
  }

  /** Moves the clocks of node and cluster by the same time. */
  passes(ms: number): void {
    this.machine.jump(ms);
    this.cluster.jump(ms);
  }

  /** Sets the node's clock to that of the cluster, as NTP does. */
  setRight(): void {
    this.machine.set(this.cluster.now());
  }

  /** Makes a change and waits for log lines, which must come within a minute. */
  async calls(change: () => void, wanted: readonly Wanted[]): Promise<void> {
    const next = this.#next(wanted);
    const began = performance.now();
    change();
    if (!this.#options.unhurried) await this.#hurry();
    await next();
    const took = performance.now() - began;
    if (took > promised + slack) {
      throw new Error(
        `begun only ${(took / second).toFixed(1)} s after the wall clock called for it`,
      );
    }
  }

  /** Makes a change and waits until the agent is healthy again. The time counts as recovery. */
  async recovers(change: () => void, called: readonly Wanted[]): Promise<void> {
    const began = performance.now();
    await this.calls(change, called);
    await this.healthy();
    this.#recovery = Math.max(this.#recovery, (performance.now() - began) / second);
  }

  /**
   * Waits until every pair exists and is valid on the node's clock, with no attempt
   * running or failed.
   */
  async healthy(): Promise<void> {
    const end = performance.now() + scaled(minute);
    for (;;) {
      const why = await this.#unhealthy();
      if (why === undefined) return;
      if (performance.now() > end) throw new Error(why);
      await delay(100);
    }
  }

  /** Waits in real time, while the agent may make no request. */
  async holds(ms: number): Promise<void> {
    const before = await this.requests();
    await delay(ms);
    const after = await this.requests();
    if (after > before) throw new Error(`${after - before} CSRs were created, expected none`);
  }

  /** The number of CSRs so far. */
  async requests(): Promise<number> {
    return (await this.controlPlane.csrs()).length;
  }

  /** Stops keeper and enroller at once, like a suspended machine. */
  async suspended(work: () => Promise<void>): Promise<void> {
    const { pid } = this.agent;
    await this.stopped([pid, ...(await childrenOf(pid))], work);
  }

  async stopped(pids: readonly number[], work: () => Promise<void>): Promise<void> {
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await work();
    } finally {
      for (const pid of pids) continueProcess(pid);
    }
  }

  /** The PIDs of the running enrollers. */
  async enrollers(): Promise<number[]> {
    return childrenOf(this.agent.pid);
  }

  /** Waits for log lines. */
  async says(...wanted: readonly Wanted[]): Promise<void> {
    for (const [event, certificate, code] of wanted) {
      const matches = (line: LogLine): boolean => code === undefined || line['code'] === code;
      for (let nth = 1; !matches(await this.agent.event(event, certificate, nth));) nth += 1;
    }
  }

  /** Adds a present value of the metrics to the table. */
  async measure(metric: string): Promise<number> {
    const { text } = await this.agent.get('/metrics');
    const value = new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`the metrics have no ${metric}`);
    this.#seen.add(`${metric.replaceAll('\\', '')}=${Number(value).toFixed(0)}`);
    return Number(value);
  }

  /** @throws Error if a promise was broken that holds for every fault */
  async row(fault: string, requests: number): Promise<FaultRow> {
    const [loss] = this.#reader.losses;
    if (loss !== undefined) throw new Error(`a reader failed: ${loss}`);
    const made = await this.requests();
    if (made > requests) throw new Error(`${made} CSRs were created, expected at most ${requests}`);
    for (const line of this.agent.lines) if (isTelling(line)) this.#seen.add(labelOf(line));
    return {
      fault,
      tried: 1,
      lost: 0,
      ...(this.#recovery > 0 && { recovery: this.#recovery }),
      seen: [...this.#seen],
    };
  }

  /** The last log lines, for an error. */
  story(): string {
    const lines = this.#agent?.lines ?? [];
    const shown = lines.filter(({ event }) => event !== 'api_request').slice(-40);
    return shown.map((line) => JSON.stringify(line)).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** The agent watches this file, and a touched file triggers a tick. */
  async #hurry(): Promise<void> {
    await appendFile(this.node.configFile, '\n');
  }

  #next(wanted: readonly Wanted[]): () => Promise<void> {
    const known = wanted.map(([event, certificate]) => this.agent.all(event, certificate).length);
    return async () => {
      for (const [index, [event, certificate]] of wanted.entries()) {
        await this.agent.event(event, certificate, (known[index] ?? 0) + 1);
      }
    };
  }

  async #unhealthy(): Promise<string | undefined> {
    const now = this.machine.now();
    for (const name of names) {
      const pair = await this.node.read(name).catch(() => undefined);
      if (pair === undefined) return `${name} cannot be read`;
      const { validFromDate, validToDate } = pair;
      if (validFromDate.getTime() > now)
        return `${name} is valid from ${validFromDate.toISOString()}`;
      if (validToDate.getTime() <= now)
        return `${name} was valid until ${validToDate.toISOString()}`;
      const { state, usable, attempts } = await this.agent.certificate(name);
      if (state !== 'valid' || !usable || attempts > 0) {
        return `${name} is ${state}, usable: ${usable}, after ${attempts} failures`;
      }
    }
    return undefined;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

/** The process may have been killed. */
function continueProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It has exited.
  }
}

function isTelling({ event, level }: LogLine): boolean {
  return level === 'warn' || level === 'error' || event === 'rotation_recovered';
}

function labelOf({ event, code }: LogLine): string {
  return [event, code].filter(Boolean).join(' ');
}
