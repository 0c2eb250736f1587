import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../src/core/errors.ts';
import { scaled } from '../support/machine-speed.ts';
import type { SingleRequest } from '../support/single-request.ts';
import { answerOfNewConnection } from '../support/single-request.ts';

/** A client that reads its files again for every request. */
export interface ProbedClient {
  readonly name: string;
  readonly read: () => Promise<SingleRequest>;
  /** The expected answer, by default 200. */
  readonly status?: number;
}

export interface FailedProbe {
  readonly client: string;
  readonly at: string;
  readonly problem: string;
}

/** In milliseconds, between two requests of one client. */
const usualInterval = 200;

/** Sends requests for several clients five times a second, each over a new connection. */
export class Prober implements Disposable {
  readonly failures: FailedProbe[] = [];
  readonly #requests = new Map<string, number>();
  readonly #pending = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(clients: readonly ProbedClient[], interval = usualInterval) {
    this.#timer = setInterval(() => {
      for (const client of clients) this.#start(client);
    }, interval);
  }

  get requests(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#requests);
  }

  /** Ends when the last answer has arrived. */
  async stop(): Promise<void> {
    this[Symbol.dispose]();
    await Promise.all(this.#pending);
  }

  /** The failures of one client from now on, for so many milliseconds. */
  async failuresDuring(milliseconds: number, client: string): Promise<readonly FailedProbe[]> {
    const before = this.failures.length;
    await delay(milliseconds);
    return this.failures.slice(before).filter((failure) => failure.client === client);
  }

  #start(client: ProbedClient): void {
    this.#requests.set(client.name, (this.#requests.get(client.name) ?? 0) + 1);
    const probe = this.#probe(client).finally(() => this.#pending.delete(probe));
    this.#pending.add(probe);
  }

  async #probe(client: ProbedClient): Promise<void> {
    const at = new Date().toISOString();
    const problem = await probeOnce(client);
    if (problem !== undefined) this.failures.push({ client: client.name, at, problem });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/**
 * With a renewed client certificate, the API server cuts its connections to all kubelets once. The requests to a
 * kubelet that are in progress then fail together.
 * @param proxy the client that sends requests to a kubelet through the API server
 */
export function requireAnswers({ failures }: Prober, proxy: string): void {
  const cut = failures.filter(
    ({ client, problem }) => client === proxy && problem.startsWith('status 503'),
  );
  assert.deepEqual(
    failures.filter((failure) => !cut.includes(failure)),
    [],
  );
  const times = cut.map(({ at }) => Date.parse(at));
  assert.ok(Math.max(...times) - Math.min(...times) <= inProgressMs, JSON.stringify(cut));
}

/** A busy machine needs this time for a request. */
const inProgressMs = scaled(2_000);

/** Whether a request over a new connection is answered as expected. */
export async function isAnswered(client: ProbedClient): Promise<boolean> {
  return (await probeOnce(client)) === undefined;
}

/** Why a request over a new connection is not answered as expected; undefined if it is. */
export async function probeOnce({
  read,
  status: expected = 200,
}: ProbedClient): Promise<string | undefined> {
  try {
    const response = await answerOfNewConnection(await read());
    const body = await text(response);
    const { statusCode = 0 } = response;
    if (statusCode === expected) return undefined;
    // The reason of kube-apiserver for an error of its own.
    return statusCode < 500
      ? `status ${statusCode}`
      : `status ${statusCode}: ${body.slice(0, 300)}`;
  } catch (error) {
    return describeError(error);
  }
}
