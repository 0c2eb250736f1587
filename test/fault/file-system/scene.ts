import { mkdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../../src/core/instant.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import type { TestAgent, TestNode } from '../../support/agent.ts';
import { troubles } from '../crash/attempt.ts';
import type { NodeTemplate } from '../crash/node-template.ts';
import { straysOf } from '../crash/node-template.ts';
import { Reader } from '../crash/reader.ts';
import type { FaultRow } from '../family.ts';
import { scaled } from '../../support/machine-speed.ts';

export const certificate = 'kubelet-client';

/** An agent on a node with a control plane and a reader. */
export interface Scene {
  readonly node: TestNode;
  readonly agent: TestAgent;
  readonly controlPlane: ControlPlane;
  readonly reader: Reader;
}

export interface Scenario {
  readonly fault: string;
  readonly phase: 'blank' | 'due';
  /** Runs before the agent starts. */
  readonly prepare?: (node: TestNode) => Promise<Disposable | undefined>;
  /**
   * Causes the fault and waits until the agent has recovered.
   * @returns the seconds of the recovery, or undefined if nothing had to recover
   */
  act(scene: Scene, prepared: Disposable | undefined): Promise<number | undefined>;
  /** The expected log events. */
  readonly says: readonly string[];
  /** Only the scenario approves CSRs. */
  readonly unapproved?: boolean;
  /** The fault itself removes the pair, so failed reads do not count as losses. */
  readonly takesPair?: boolean;
}

/** @throws Error if a pair was lost or a promise of the scenario was broken */
export async function play(template: NodeTemplate, scenario: Scenario): Promise<FaultRow> {
  const { fault, phase, says, takesPair = false } = scenario;
  const { controlPlane } = template;
  const node = await template[phase]();
  if (phase === 'blank') await mkdir(node.pki);
  const prepared = await scenario.prepare?.(node);
  await controlPlane.setApproving(scenario.unapproved !== true);
  const agent = node.start();
  const reader = new Reader(node, phase === 'due' && !takesPair);
  try {
    const recovery = await scenario.act({ node, agent, controlPlane, reader }, prepared);
    await requireWhole(node, reader, takesPair);
    // The keeper learns of the repaired files a moment later.
    await until(`the log says ${says.join(', ')}`, () => says.every(isSaidBy(agent)));
    const seen = troubles(agent.lines);
    return { fault, tried: 1, lost: 0, seen, ...(recovery !== undefined && { recovery }) };
  } catch (error) {
    const log = agent.lines.map((line) => JSON.stringify(line)).join('\n');
    throw new Error(`${fault}: ${String(error)}\n${log}`, { cause: error });
  } finally {
    await controlPlane.setApproving(true);
    await reader[Symbol.asyncDispose]();
    await agent.stop();
    prepared?.[Symbol.dispose]();
    await node[Symbol.asyncDispose]();
  }
}

function isSaidBy(agent: TestAgent): (said: string) => boolean {
  return (said) => troubles(agent.lines).includes(said);
}

async function requireWhole(node: TestNode, reader: Reader, takesPair: boolean): Promise<void> {
  await node.read(certificate);
  // The keeper may be writing its state now, so temporary files may disappear again.
  await until('nothing lies about', async () => (await straysOf(node)).length === 0);
  if (!takesPair && reader.losses.length > 0) {
    throw new Error(`a reader failed ${reader.losses.length} times: ${reader.losses[0]}`);
  }
}

/** Waits for a condition, and returns the seconds. */
export async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < scaled(minute)) {
    if (await holds()) return (performance.now() - began) / second;
    await delay(5);
  }
  throw new Error(`did not become true in time: ${what}`);
}

/** Waits for a pair with another serial number. */
export async function newPair(node: TestNode, ...known: readonly string[]): Promise<number> {
  return until('another pair', async () => {
    const found = await serial(node).catch(() => undefined);
    return found !== undefined && !known.includes(found);
  });
}

export async function serial(node: TestNode): Promise<string> {
  return (await node.read(certificate)).serialNumber;
}
