import { readFileSync } from 'node:fs';
import { parsePair } from '../../support/agent.ts';

/**
 * Reads pairs all the time, as consumers do, and records every read without a complete
 * pair. It does not check the validity, because it does not know the time of the node.
 */
export class PairReader implements Disposable {
  readonly losses: string[] = [];
  readonly #files: readonly string[];
  readonly #seen = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(files: readonly string[]) {
    this.#files = files;
    this.#timer = setInterval(() => this.#readAll(), interval);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #readAll(): void {
    for (const file of this.#files) {
      try {
        parsePair(readFileSync(file, 'utf8'));
        this.#seen.add(file);
      } catch (error) {
        // Before the first pair, a failed read is not a loss.
        if (this.#seen.has(file)) this.losses.push(`${file}: ${String(error)}`);
      }
    }
  }
}

/** In milliseconds. A dozen readers run at once. */
const interval = 25;
