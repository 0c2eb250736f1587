import { appendFile, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '../../../src/core/errors.ts';
import { minute, second } from '../../../src/core/instant.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import type { AgentStart, LogLine, TestAgent } from '../../support/agent.ts';
import { client, serving, TestNode } from '../../support/agent.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import { startSandboxControlPlane } from '../../support/sandbox-control-plane.ts';
import type { FaultRow } from '../family.ts';
import { PairReader } from './pair-reader.ts';
import { SettableClock } from './settable-clock.ts';
import { scaled } from '../../support/machine-speed.ts';

export interface StageOptions {
  readonly name: string;
  /** Lifetime of what the cluster issues. */
  readonly signingSeconds: number;
  /** As for an agent; the clock's environment is laid over it. */
  readonly start: AgentStart;
  /** Whether the loop is given its minute, or has its attention drawn to each change at once. */
  readonly unhurried: boolean;
}

/** A line of the agent's log: its event, and the certificate or the code that it has to name. */
export type Wanted = readonly [event: LogEvent, certificate?: string, code?: ErrorCode];

const servingAddresses = { from: 'static', dnsNames: ['worker'], ipAddresses: ['10.0.0.1'] };
const certificates = [client, { ...serving, addresses: servingAddresses }];
const names = certificates.map(({ name }) => name);

/** A loop that looks at the clock once a minute acts within that minute; what is more is this machine's load. */
const promised = minute;
const slack = scaled(10 * second);

/** One node and one cluster, each by a clock of its own, with the agent and a reader at work. */
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

  /** Starts the agent on a machine whose clock is right, until it has all its pairs and sleeps. */
  async bootstrap(): Promise<void> {
    this.start();
    for (const name of names) await this.agent.event('rotation_deadline', name);
    await this.asleep();
  }

  /** Until nothing is left that would bring the loop round before its time. */
  async asleep(): Promise<void> {
    while ((await this.enrollers()).length > 0) await delay(100);
  }

  /** Moves the clocks of node and cluster alike: time has passed. */
  passes(ms: number): void {
    this.machine.jump(ms);
    this.cluster.jump(ms);
  }

  /** As NTP sets a clock. */
  setRight(): void {
    this.machine.set(this.cluster.now());
  }

  /** The lines that come after the change, and in good time: when the wall clock calls for something it is begun within a minute. */
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

  /** Until the change has done its work, with what that takes counted as recovery. */
  async recovers(change: () => void, called: readonly Wanted[]): Promise<void> {
    const began = performance.now();
    await this.calls(change, called);
    await this.healthy();
    this.#recovery = Math.max(this.#recovery, (performance.now() - began) / second);
  }

  /** Every pair is there, valid by the machine's clock, and nothing is under way or has failed. */
  async healthy(): Promise<void> {
    const end = performance.now() + scaled(minute);
    for (;;) {
      const why = await this.#unhealthy();
      if (why === undefined) return;
      if (performance.now() > end) throw new Error(why);
      await delay(100);
    }
  }

  /** Lets real time pass in which nothing may be requested. */
  async holds(ms: number): Promise<void> {
    const before = await this.requests();
    await delay(ms);
    const after = await this.requests();
    if (after > before) throw new Error(`${after - before} requests where none was called for`);
  }

  /** How many requests for certificates the cluster has seen. */
  async requests(): Promise<number> {
    return (await this.controlPlane.csrs()).length;
  }

  /** Stops keeper and enroller as a machine that is suspended does, all at once. */
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

  /** The process that holds the keys, if there is one. */
  async enrollers(): Promise<number[]> {
    return childrenOf(this.agent.pid);
  }

  /** Until one line of the log, or more, says it. */
  async says(...wanted: readonly Wanted[]): Promise<void> {
    for (const [event, certificate, code] of wanted) {
      const matches = (line: LogLine): boolean => code === undefined || line['code'] === code;
      for (let nth = 1; !matches(await this.agent.event(event, certificate, nth));) nth += 1;
    }
  }

  /** Marks what the metrics say now for the table. */
  async measure(metric: string): Promise<number> {
    const { text } = await this.agent.get('/metrics');
    const value = new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`there is no ${metric} in the metrics`);
    this.#seen.add(`${metric.replaceAll('\\', '')}=${Number(value).toFixed(0)}`);
    return Number(value);
  }

  /** @throws Error when a promise was broken that holds for every fault */
  async row(fault: string, requests: number): Promise<FaultRow> {
    const [loss] = this.#reader.losses;
    if (loss !== undefined) throw new Error(`a reader found: ${loss}`);
    const made = await this.requests();
    if (made > requests) throw new Error(`${made} requests, at most ${requests} were called for`);
    for (const line of this.agent.lines) if (isTelling(line)) this.#seen.add(labelOf(line));
    return {
      fault,
      tried: 1,
      lost: 0,
      ...(this.#recovery > 0 && { recovery: this.#recovery }),
      seen: [...this.#seen],
    };
  }

  /** For an error: what happened last. */
  story(): string {
    const lines = this.#agent?.lines ?? [];
    const told = lines.filter(({ event }) => event !== 'api_request').slice(-40);
    return told.map((line) => JSON.stringify(line)).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** The configuration is watched, and a file of it that was touched brings the loop round at once. */
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

/** It may have been killed meanwhile. */
function continueProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // Gone.
  }
}

function isTelling({ event, level }: LogLine): boolean {
  return level === 'warn' || level === 'error' || event === 'rotation_recovered';
}

function labelOf({ event, code }: LogLine): string {
  return [event, code].filter(Boolean).join(' ');
}
