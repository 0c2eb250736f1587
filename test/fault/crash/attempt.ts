import { existsSync } from 'node:fs';
import { lstat, readFile, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../../src/core/instant.ts';
import { peekState } from '../../../src/store/state-file.ts';
import type { TestAgent, TestNode } from '../../support/agent.ts';
import type { FileStore } from '../filestore/file-store.ts';
import type { Injection } from './injection.ts';
import { Attachment, describeInjection } from './injection.ts';
import type { NodeTemplate } from './node-template.ts';
import { straysOf } from './node-template.ts';
import { Reader } from './reader.ts';
import { scaled } from '../../support/machine-speed.ts';

export type Phase = 'bootstrap' | 'rotation';

export interface Bench {
  readonly template: NodeTemplate;
  readonly fileStore: FileStore;
  /** The released program; the sources run when absent. */
  readonly command?: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Trial {
  readonly phase: Phase;
  readonly injection: Injection;
  /** Whether to kill the keeper after the enroller. */
  readonly whole: boolean;
}

export interface Outcome {
  /** The call that was hit; absent if the run had fewer calls. */
  readonly struck?: string;
  readonly lost: number;
  /** Seconds from the first failure, or from the next start, to the new pair. */
  readonly recovery: number;
  /** Warnings and errors in the log, with their codes. */
  readonly seen: readonly string[];
}

/**
 * Runs the agent with one failing or last call, and starts it again if necessary.
 * @throws Error if a pair was lost, or if the next start failed or left a stray file
 */
export async function attempt(bench: Bench, trial: Trial): Promise<Outcome> {
  const { phase, injection, whole } = trial;
  await using node = await bench.template[phase === 'bootstrap' ? 'blank' : 'due']();
  const attachment = new Attachment(node, injection.place, injection);
  await using reader = new Reader(node, phase === 'rotation');
  try {
    const agent = start(bench, node, attachment);
    const ended = await settle(agent, injection.fault === 'SIGKILL' && whole);
    let recovery = sinceTrouble(agent);
    // The call may come after the new pair, or at the exit.
    if (!ended) await agent.stop();
    const struck = await attachment.struck();
    await requirePair(bench, node, phase);
    if (ended || agent.killed || !(await isTidy(node))) {
      await enrollersGone(agent);
      const began = performance.now();
      const next = start(bench, node);
      if (await settle(next, false)) throw new Error(`the next start failed:\n${logOf(next)}`);
      recovery = (performance.now() - began) / second;
      await next.stop();
    }
    await requireComplete(bench, node);
    if (reader.losses.length > 0) throw new Error(`a reader failed: ${reader.losses[0]}`);
    return {
      ...(struck !== undefined && { struck }),
      lost: 0,
      recovery,
      seen: troubles(agent.lines),
    };
  } catch (error) {
    const what = `${phase}, ${describeInjection(injection)}${whole ? ', then the rest of it' : ''}`;
    throw new Error(`${what}: ${await attachment.struck()}\n${await listing(node)}`, {
      cause: error,
    });
  }
}

function start({ command, env }: Bench, node: TestNode, attachment?: Attachment): TestAgent {
  const options = command === undefined ? {} : { command };
  return node.start({ ...options, env: { ...env, ...attachment?.env } });
}

/**
 * Waits until the agent has a pair that is not due, or has ended. Returns whether it
 * ended.
 * @param killWhole kill the keeper when the enroller is lost
 */
async function settle(agent: TestAgent, killWhole: boolean): Promise<boolean> {
  const deadline = Date.now() + scaled(2 * minute);
  while (Date.now() < deadline) {
    if (agent.ended) return true;
    if (killWhole && agent.all('enroller_lost').length > 0) {
      await agent.stop('SIGKILL');
      return true;
    }
    if (hasNewPair(agent)) return false;
    await delay(10);
  }
  throw new Error(`the agent did not store a new pair:\n${logOf(agent)}`);
}

/**
 * Waits until the enrollers of a killed keeper have exited, as systemd does before it
 * restarts a service.
 */
async function enrollersGone(agent: TestAgent): Promise<void> {
  const pids = agent.all('enroller_started').map(({ pid }) => Number(pid));
  const deadline = Date.now() + scaled(10 * second);
  while (pids.some((pid) => existsSync(`/proc/${pid}`))) {
    if (Date.now() > deadline) throw new Error('an enroller outlived its keeper');
    await delay(1);
  }
}

function hasNewPair(agent: TestAgent): boolean {
  const deadline = agent.all('rotation_deadline').at(-1)?.['deadline'];
  return typeof deadline === 'string' && Date.parse(deadline) > Date.now();
}

/** Seconds between the first failure in the log and the new pair. */
function sinceTrouble(agent: TestAgent): number {
  const failed = agent.lines.find(({ level }) => level === 'error');
  const stored = agent.all('certificate_stored').at(-1);
  if (failed === undefined || stored === undefined) return 0;
  return (
    Math.max(Date.parse(String(stored['time'])) - Date.parse(String(failed['time'])), 0) / 1000
  );
}

/** Checks that a crash has left a complete pair. */
async function requirePair({ fileStore }: Bench, node: TestNode, phase: Phase): Promise<void> {
  const linked = await lstat(node.current('kubelet-client')).catch(() => undefined);
  if (linked === undefined && phase === 'bootstrap') return;
  await requireSamePair(fileStore, node);
}

/** Checks that client-go finds the same pair as our parser. */
async function requireSamePair(fileStore: FileStore, node: TestNode): Promise<Date> {
  const certificate = await node.read('kubelet-client');
  const answer = await fileStore.current(node.pki, 'kubelet-client');
  const serial = BigInt(`0x${certificate.serialNumber}`).toString(16);
  if (answer.serial !== serial) {
    throw new Error(`client-go finds ${JSON.stringify(answer)}, our parser ${serial}`);
  }
  return new Date(certificate.validTo);
}

/** Whether the folder contains only the current pair and previous pairs, and no temporary file. */
async function isTidy(node: TestNode): Promise<boolean> {
  return (await leftovers(node)).length === 0;
}

async function leftovers(node: TestNode): Promise<string[]> {
  const files = await readdir(node.pki);
  const found = await straysOf(node);
  for (const file of files.filter((file) => file.endsWith('.pem'))) {
    const path = join(node.pki, file);
    const whole = await readFile(path, 'utf8').catch(() => '');
    if (!/^-----BEGIN CERT[^]*-----END EC PRIVATE KEY-----\n$/.test(whole)) found.push(file);
  }
  const pairs = files.filter((file) => /\d\.pem$/.test(file));
  // The current pair and one previous pair: see the configuration of the template.
  if (pairs.length > 2) found.push(...pairs);
  return found;
}

async function requireComplete(bench: Bench, node: TestNode): Promise<void> {
  const expires = await requireSamePair(bench.fileStore, node);
  if (expires.getTime() < Date.now() + 2 * 60 * minute) throw new Error('the pair is the old one');
  const strays = await leftovers(node);
  if (strays.length > 0) throw new Error(`stray files: ${strays.join(', ')}`);
  const kubeconfig = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
  if (!kubeconfig.includes(`client-key: ${node.current('kubelet-client')}\n`)) {
    throw new Error(`the kubeconfig is incomplete: ${kubeconfig}`);
  }
  const state = await peekState(join(node.directory, 'state'));
  // The state may have no record of the certificate, because the enroller can finish
  // after its keeper was killed.
  const left = state?.certificates['kubelet-client']?.outstanding ?? [];
  if (state === undefined || left.length > 0) {
    throw new Error(`state.json contains ${JSON.stringify(state)}`);
  }
}

/**
 * Returns each warning and error once, with its code, without those that an overdue
 * pair always causes.
 */
export function troubles(lines: TestAgent['lines']): string[] {
  const troubled = lines.filter(
    ({ level, event }) => (level === 'warn' || level === 'error') && !ofTheTemplate.has(event),
  );
  return [...new Set(troubled.map(({ event, code }) => [event, code].filter(Boolean).join(' ')))];
}

const ofTheTemplate = new Set<string>(['rotation_overdue', 'preflight_finding']);

function logOf(agent: TestAgent): string {
  return agent.lines.map((line) => JSON.stringify(line)).join('\n');
}

async function listing(node: TestNode): Promise<string> {
  const files = await readdir(node.directory, { recursive: true });
  const current = await realpath(node.current('kubelet-client')).catch(String);
  return `${files.sort().join('\n')}\ncurrent: ${current}`;
}
