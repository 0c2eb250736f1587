import { readFileSync } from 'node:fs';
import { parsePair } from '../../support/agent.ts';

/**
 * Reads pairs all the time, as their users do, and keeps what was less than a
 * certificate with its key. Whether it is valid is for whoever knows what the time is.
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
        // Before the first pair there is none to lose.
        if (this.#seen.has(file)) this.losses.push(`${file}: ${String(error)}`);
      }
    }
  }
}

/** Milliseconds; a dozen stages read side by side. */
const interval = 25;
