import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from '../support/api-client.ts';
import type { LiveCsr } from '../support/approver-plane.ts';
import type { Child } from '../support/child.ts';
import { csrPath } from '../support/real-csr.ts';

export interface SeenDecision {
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
  /** Such as `Denied SubjectMismatch`. */
  readonly outcome: string;
}

/**
 * The times at which CSRs and decisions became visible on the API server. One watch sees both, so its
 * own delay does not count.
 */
export class DecisionWatch implements AsyncDisposable {
  readonly createdAt = new Map<string, number>();
  readonly decisions = new Map<string, SeenDecision>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  private constructor(admin: ApiClient, resourceVersion: string) {
    this.#done = this.#follow(admin, resourceVersion);
    this.#done.catch(() => undefined);
  }

  /** Sees what happens from now on. */
  static async start(admin: ApiClient): Promise<DecisionWatch> {
    const list = await admin.must({ method: 'GET', path: `${csrPath()}?limit=1` });
    const { metadata } = list as { readonly metadata: { readonly resourceVersion: string } };
    return new DecisionWatch(admin, metadata.resourceVersion);
  }

  /** @throws Error with the log of a program that ends, or that has not decided after `seconds` */
  async decided(count: number, child: Child, seconds = 280): Promise<void> {
    await this.#until(() => this.decisions.size >= count, child, seconds);
  }

  async decision(name: string, child: Child): Promise<SeenDecision> {
    await this.#until(() => this.decisions.has(name), child, 60);
    return this.decisions.get(name) ?? { at: Number.NaN, outcome: '' };
  }

  async #until(isDone: () => boolean, child: Child, seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1_000;
    while (!isDone()) {
      if (!child.running) throw child.failure('ended');
      if (performance.now() > end) throw child.failure(`has decided ${this.decisions.size} CSRs`);
      await delay(5);
    }
  }

  async #follow(admin: ApiClient, resourceVersion: string): Promise<void> {
    const path = `${csrPath()}?watch=true&resourceVersion=${resourceVersion}`;
    try {
      for await (const event of admin.watch(path, this.#stop.signal)) {
        this.#see(event as { readonly type: string; readonly object: LiveCsr });
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  #see({ type, object }: { readonly type: string; readonly object: LiveCsr }): void {
    const at = performance.now();
    const { name } = object.metadata;
    if (type === 'ADDED') this.createdAt.set(name, at);
    const [condition] = object.status.conditions ?? [];
    if (type !== 'MODIFIED' || condition === undefined || this.decisions.has(name)) return;
    this.decisions.set(name, { at, outcome: `${condition.type} ${condition.reason}` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
