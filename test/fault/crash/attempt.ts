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
  /** The program as released; from its sources when absent. */
  readonly command?: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Trial {
  readonly phase: Phase;
  readonly injection: Injection;
  /** Whether all of the agent is killed when the enroller was. */
  readonly whole: boolean;
}

export interface Outcome {
  /** The call that was hit; absent when it never came to the n-th. */
  readonly struck?: string;
  readonly lost: number;
  /** Seconds from the start of the agent, or of its next run, to the new pair. */
  readonly recovery: number;
  /** Warnings and errors of the log, with their codes. */
  readonly seen: readonly string[];
}

/**
 * One run of the agent in which one call fails or is the last, and what follows.
 * @throws Error when a pair was lost, the next start did not carry on or left something lying about
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
    // The last call may be one of those that follow the new pair, or the end.
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
    if (reader.losses.length > 0) throw new Error(`readers found: ${reader.losses[0]}`);
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
 * Until the agent has a pair that is not due, or has ended; returns whether it ended.
 * @param killWhole kills the keeper as soon as the enroller is gone
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
  throw new Error(`the agent did not come to a new pair:\n${logOf(agent)}`);
}

/** As systemd sees to it before it starts a service anew: what a killed keeper left behind ends within milliseconds. */
async function enrollersGone(agent: TestAgent): Promise<void> {
  const pids = agent.all('enroller_started').map(({ pid }) => Number(pid));
  const deadline = Date.now() + scaled(10 * second);
  while (pids.some((pid) => existsSync(`/proc/${pid}`))) {
    if (Date.now() > deadline) throw new Error('an enroller outlives its keeper');
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

/** What readers have after the crash: a pair as complete as before it. */
async function requirePair({ fileStore }: Bench, node: TestNode, phase: Phase): Promise<void> {
  const linked = await lstat(node.current('kubelet-client')).catch(() => undefined);
  if (linked === undefined && phase === 'bootstrap') return;
  await requireSamePair(fileStore, node);
}

/** Our parser and client-go's find the same one. */
async function requireSamePair(fileStore: FileStore, node: TestNode): Promise<Date> {
  const certificate = await node.read('kubelet-client');
  const answer = await fileStore.current(node.pki, 'kubelet-client');
  const serial = BigInt(`0x${certificate.serialNumber}`).toString(16);
  if (answer.serial !== serial) {
    throw new Error(`client-go finds ${JSON.stringify(answer)}, our parser ${serial}`);
  }
  return new Date(certificate.validTo);
}

/** Only what belongs there: the pair, what is kept of old ones, and no temporary file. */
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
  // The current one and one before it; see the configuration of the template.
  if (pairs.length > 2) found.push(...pairs);
  return found;
}

async function requireComplete(bench: Bench, node: TestNode): Promise<void> {
  const expires = await requireSamePair(bench.fileStore, node);
  if (expires.getTime() < Date.now() + 2 * 60 * minute) throw new Error('the pair is the old one');
  const strays = await leftovers(node);
  if (strays.length > 0) throw new Error(`left lying about: ${strays.join(', ')}`);
  const kubeconfig = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
  if (!kubeconfig.includes(`client-key: ${node.current('kubelet-client')}\n`)) {
    throw new Error(`the kubeconfig is incomplete: ${kubeconfig}`);
  }
  const state = await peekState(join(node.directory, 'state'));
  // Without a record too: the enroller may have finished what the killed keeper never heard of.
  const left = state?.certificates['kubelet-client']?.outstanding ?? [];
  if (state === undefined || left.length > 0) {
    throw new Error(`state.json says ${JSON.stringify(state)}`);
  }
}

/** Warnings and errors of a log, with their codes, each once; not those of every node whose pair is due for hours. */
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
