import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeAddress } from '../../../src/core/enroller-protocol.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import { kubeletServingSigner } from '../../../src/core/certificate-spec.ts';
import { second } from '../../../src/core/instant.ts';
import { parsePem } from '../../../src/core/pem.ts';
import { parseCertificateRequest } from '../../../src/core/x509.ts';
import { client, serving, TestNode } from '../../support/agent.ts';
import type { ControlPlane, ObservedCsr } from '../../support/control-plane.ts';
import { Reader } from '../crash/reader.ts';
import { nameOf } from './known-keys.ts';
import type { WatchOptions } from './watched-agent.ts';
import { describe, WatchedAgent } from './watched-agent.ts';
import { scaled } from '../../support/machine-speed.ts';

export const keptSigner = 'example.com/kept';
export const doomedSigner = 'example.com/doomed';
const algorithms = ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048', 'ed25519'] as const;

export interface RoundOptions extends WatchOptions {
  readonly controlPlane: ControlPlane;
  /** The number of certificates of each algorithm that are rotated, and of each whose CSRs fail. */
  readonly copies: number;
  /** The number of pairs of each rotated certificate before the pending CSRs fail. */
  readonly rotations: number;
  /** Whether the addresses change during a pending CSR, which takes half a minute. */
  readonly readdress: boolean;
}

export interface RoundResult {
  readonly rotations: number;
  /** Keys that were never stored. */
  readonly givenUp: number;
  readonly losses: readonly string[];
  readonly seen: readonly string[];
  /** Milliseconds until a running enroller had wiped all used keys. */
  readonly forgottenAfter: number;
}

/**
 * Runs an agent from start to end. Certificates of every kind rotate while CSRs of
 * every kind are pending, which keeps one enroller running. Then the enroller is
 * killed, the API server is stopped, and the CSRs are denied, fail, are deleted or end
 * with the agent. Searches everything for keys.
 */
export async function runRound(options: RoundOptions): Promise<RoundResult> {
  const { controlPlane } = options;
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-fault-keys-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const node = stack.use(await createNode(options));
  const reader = stack.use(new Reader(node, false));
  stack.use(approving(controlPlane));
  const watched = await WatchedAgent.start(node, directory, options);
  const life = new Life(watched, options);
  stack.use(life.searchAfterEachRotation());
  await life.rotate();
  const forgottenAfter = await life.requireForgotten();
  await life.killEnroller();
  await life.withoutApi();
  if (options.readdress) await life.readdress();
  await life.decide();
  await watched.agent.stop();
  const stored = await life.conclude();
  return {
    rotations: watched.agent.all('certificate_stored').length,
    givenUp: without(watched.keys.names, stored).size,
    // Short-lived certificates may expire on a busy machine, which does not matter
    // here.
    losses: reader.losses.filter((loss) => !loss.includes('expired')),
    seen: life.seen(),
    forgottenAfter,
  };
}

function kept(copies: number): Record<string, unknown>[] {
  return named('kept', keptSigner, copies);
}

function doomed(copies: number): Record<string, unknown>[] {
  return named('doomed', doomedSigner, copies);
}

function named(kind: string, signerName: string, copies: number): Record<string, unknown>[] {
  return algorithms.flatMap((algorithm) =>
    Array.from({ length: copies }, (_, index) => ({
      name: `${kind}-${algorithm}-${index}`,
      profile: 'custom',
      signerName,
      subject: { commonName: `${kind}-${algorithm}-${index}` },
      usages: ['digital signature', 'client auth'],
      key: { algorithm },
    })),
  );
}

/** The serving certificate stays self-signed, because its CSR is never approved. */
async function createNode({ controlPlane, copies, readdress }: RoundOptions): Promise<TestNode> {
  await controlPlane.setNodeAddresses('keys', addresses('192.0.2.1'));
  return TestNode.create(controlPlane, 'keys', {
    certificates: [client, serving, ...kept(copies), ...doomed(copies)],
    ...(readdress && { addressRefresh: '10s' }),
  });
}

function addresses(address: string): NodeAddress[] {
  return [{ type: 'InternalIP', address }];
}

/** Approves the CSRs of the custom signer. */
function approving(controlPlane: ControlPlane): AsyncDisposable {
  const stop = new AbortController();
  const done = (async () => {
    while (!stop.signal.aborted) {
      for (const csr of await controlPlane.csrs()) {
        if (csr.signerName !== keptSigner || csr.conditions.length > 0) continue;
        await controlPlane.approve(csr.name);
      }
      await delay(50);
    }
  })();
  return disposing(stop, done);
}

function disposing(stop: AbortController, done: Promise<void>): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await done;
    },
  };
}

class Life {
  readonly #watched: WatchedAgent;
  readonly #options: RoundOptions;
  /** The error of a search in the background. */
  #searchError: unknown;

  constructor(watched: WatchedAgent, options: RoundOptions) {
    this.#watched = watched;
    this.#options = options;
  }

  /** Searches after each rotation. A search covers all earlier ones. */
  searchAfterEachRotation(): AsyncDisposable {
    const stop = new AbortController();
    const { agent } = this.#watched;
    const done = (async () => {
      let searched = 0;
      while (!stop.signal.aborted && !agent.ended && this.#searchError === undefined) {
        const stored = agent.all('certificate_stored').length;
        if (stored > searched) this.#search();
        searched = stored;
        await delay(20);
      }
    })();
    return disposing(stop, done);
  }

  async rotate(): Promise<void> {
    const { rotations, copies } = this.#options;
    for (const { name } of [client, ...kept(copies)]) {
      await this.#watched.agent.event('certificate_stored', String(name), rotations);
    }
    for (const { name } of [serving, ...doomed(copies)]) {
      await this.#watched.agent.event('csr_created', String(name));
    }
  }

  /**
   * The running enroller must hold the keys of pending CSRs, which proves that the
   * search works. It may hold the client's key for TLS. It must wipe all others soon.
   */
  async requireForgotten(): Promise<number> {
    const waiting = await this.#waiting();
    const past = without(without(this.#watched.keys.names, waiting), await this.#current());
    const started = performance.now();
    for (;;) {
      const found = this.#watched.searchEnroller();
      const missed = without(waiting, new Set(found.map(({ needle }) => needle.key)));
      if (missed.size > 0) throw new Error(`${missed.size} keys in the enroller were not found`);
      const left = found.filter(({ needle }) => past.has(needle.key));
      if (left.length === 0) return performance.now() - started;
      if (performance.now() - started > patience) {
        throw new Error(`of ${past.size} used keys, the enroller still has ${describe(left)}`);
      }
      await delay(200);
    }
  }

  /** Kills the enroller with its keys. The next one makes new keys and CSRs. */
  async killEnroller(): Promise<void> {
    const { agent, enrollers } = this.#watched;
    process.kill(enrollers.at(-1) ?? 0, 'SIGKILL');
    await agent.event('enroller_lost');
    for (const { name } of [serving, ...doomed(this.#options.copies)]) {
      await agent.event('csr_created', String(name), 2);
    }
    this.#search();
  }

  async withoutApi(): Promise<void> {
    const { controlPlane } = this.#options;
    await controlPlane.stopApi();
    await this.#watched.agent.event('csr_wait_retrying');
    this.#search();
    await controlPlane.startApi();
  }

  /** Changes the addresses during a pending CSR. The next CSR has a new key. */
  async readdress(): Promise<void> {
    const { agent } = this.#watched;
    const made = agent.all('csr_created', serving.name).length;
    await this.#options.controlPlane.setNodeAddresses('keys', addresses('192.0.2.2'));
    await agent.event('csr_created', serving.name, made + 1);
    this.#search();
  }

  /** One CSR in four stays pending until the agent ends. */
  async decide(): Promise<void> {
    const { controlPlane, copies } = this.#options;
    const { agent } = this.#watched;
    for (const [index, entry] of doomed(copies).entries()) {
      const certificate = String(entry['name']);
      // The CSR of the killed enroller is pending, too, but abandoned.
      const csr = String(agent.all('csr_created', certificate).at(-1)?.['csr']);
      const failed = agent.all('rotation_failed', certificate).length + 1;
      if (index % 4 === 0) await controlPlane.deny(csr, 'Denied');
      else if (index % 4 === 1) await controlPlane.fail(csr, 'Failed');
      else if (index % 4 === 2) await controlPlane.deleteCsr(csr);
      else continue;
      await agent.event('rotation_failed', certificate, failed);
      this.#search();
    }
  }

  /** Runs after the end of the agent. Returns the stored keys. */
  async conclude(): Promise<Set<string>> {
    if (this.#searchError !== undefined) throw this.#searchError;
    const { agent, enrollers, keys } = this.#watched;
    if (agent.exitCode !== 0) throw new Error(`the agent ended with exit code ${agent.exitCode}`);
    const alive = enrollers.filter((pid) => isAlive(pid));
    if (alive.length > 0) throw new Error(`enrollers still run: ${alive.join(', ')}`);
    const written = await this.#watched.requireCleanTrace();
    const stored = new Set((await this.#watched.pairs()).map(nameOfPair));
    // The search must find each stored key, which proves that the needles are correct.
    const unseen = without(stored, written);
    if (unseen.size > 0) throw new Error(`the trace does not contain ${unseen.size} stored keys`);
    const requested = new Set(await Promise.all((await this.#csrs()).map(nameOfCsr)));
    const unknown = without(new Set([...requested, ...stored]), keys.names);
    if (unknown.size > 0) throw new Error(`the test does not know ${unknown.size} keys`);
    const text = JSON.stringify(await this.#csrs());
    const sent = keys.matcher.search(Buffer.from(text, 'latin1'));
    if (sent.length > 0) throw new Error(`requests contain ${sent[0]?.needle.form}`);
    return written;
  }

  seen(): string[] {
    const events: LogEvent[] = ['rotation_failed', 'enroller_lost', 'csr_wait_retrying'];
    const lines = events.flatMap((event) => this.#watched.agent.all(event));
    return [...new Set(lines.map(({ event, code }) => [event, code].filter(Boolean).join(' ')))];
  }

  #search(): void {
    try {
      this.#watched.requireCleanKeeper();
    } catch (error) {
      this.#searchError ??= error;
    }
  }

  async #csrs(): Promise<readonly ObservedCsr[]> {
    return this.#options.controlPlane.csrs();
  }

  /** The keys of pending CSRs, and of those that are being issued or stored now. */
  async #waiting(): Promise<Set<string>> {
    const csrs = (await this.#csrs()).filter(isWaiting);
    return new Set(await Promise.all(csrs.map(nameOfCsr)));
  }

  /** The keys of the current client pairs. */
  async #current(): Promise<Set<string>> {
    const pairs = await this.#watched.pairs();
    const clients = pairs.filter((pair) => new X509Certificate(pair).subject.includes('system:'));
    return new Set(clients.map(nameOfPair));
  }
}

const patience = scaled(15 * second);

function without(names: ReadonlySet<string>, others: ReadonlySet<string>): Set<string> {
  return new Set([...names].filter((name) => !others.has(name)));
}

function isWaiting({ signerName, conditions }: ObservedCsr): boolean {
  return [doomedSigner, kubeletServingSigner].includes(signerName) && conditions.length === 0;
}

async function nameOfCsr({ request }: ObservedCsr): Promise<string> {
  const [block] = parsePem(Buffer.from(request));
  if (block === undefined) throw new Error('the CSR has no PEM block');
  const { publicKey } = await parseCertificateRequest(block.der);
  return Buffer.from(publicKey).toString('base64');
}

function nameOfPair(text: string): string {
  return nameOf(createPublicKey(text));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
