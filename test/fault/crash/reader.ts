import { readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestNode } from '../../support/agent.ts';
import { parsePair } from '../../support/agent.ts';

/** Reads the pair all the time, and records every incomplete read. */
export class Reader implements AsyncDisposable {
  readonly losses: string[] = [];
  readonly #node: TestNode;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #seen: boolean;

  /**
   * @param there whether the node has a pair already; otherwise failed reads before the
   * first pair do not count
   */
  constructor(node: TestNode, there: boolean) {
    this.#node = node;
    this.#seen = there;
    this.#done = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#read();
      await delay(5);
    }
  }

  async #read(): Promise<void> {
    try {
      const text = await readFile(this.#node.current('kubelet-client'), 'utf8');
      this.#seen = true;
      if (Date.parse(parsePair(text).validTo) < Date.now()) throw new Error('it has expired');
    } catch (error) {
      if (!this.#seen) return;
      const target = await readlink(this.#node.current('kubelet-client')).catch(() => 'no link');
      this.losses.push(`${new Date().toISOString()} ${String(error)} (${target})`);
    }
  }
}
