import { AgentError } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

/**
 * The client with the current credential. An open connection keeps its identity, so a new
 * credential needs a new client, and requests under way finish on the previous one.
 */
export class CurrentClient implements AsyncDisposable {
  #client: KubeClient | undefined;
  readonly #draining = new Set<Promise<void>>();

  get isOpen(): boolean {
    return this.#client !== undefined;
  }

  /** The client for the next request. Do not keep it across a wait. */
  get(): KubeClient {
    if (this.#client === undefined) throw new AgentError('INTERNAL', 'no API client is open');
    return this.#client;
  }

  /** Closes the previous client after its requests, and wipes its credential. */
  replace(client: KubeClient | undefined): void {
    const old = this.#client;
    this.#client = client;
    if (old === undefined) return;
    const drained = drain(old).finally(() => this.#draining.delete(drained));
    this.#draining.add(drained);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.replace(undefined);
    await Promise.all(this.#draining);
  }
}

async function drain(client: KubeClient): Promise<void> {
  await client.close().catch(() => undefined);
  client.access[Symbol.dispose]();
}
