import type { ApiClient } from '../support/api-client.ts';
import { csrPath } from '../support/real-csr.ts';
import type { CsrObject } from '../support/real-csr.ts';
import { leafOf } from './running-agent.ts';

/**
 * The times at which certificates became visible on the API server, by leaf
 * certificate. They come from a watch, as an agent's do, so they are the earliest times
 * at which a client can know. The signer's own timestamps have whole seconds only.
 */
export class IssueWatch implements AsyncDisposable {
  readonly #issuedAt = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(admin: ApiClient) {
    this.#done = this.#follow(admin);
  }

  /** Milliseconds of `performance.now()`. */
  issuedAt(leaf: string): number | undefined {
    return this.#issuedAt.get(leaf);
  }

  async #follow(admin: ApiClient): Promise<void> {
    try {
      for await (const event of admin.watch(`${csrPath()}?watch=true`, this.#stop.signal)) {
        const at = performance.now();
        const { certificate } = (event as { readonly object: CsrObject }).object.status;
        if (certificate === undefined) continue;
        const leaf = leafOf(Buffer.from(certificate, 'base64').toString());
        if (leaf !== undefined && !this.#issuedAt.has(leaf)) this.#issuedAt.set(leaf, at);
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
