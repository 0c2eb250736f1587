import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Output } from './context.ts';
import { fit } from './text.ts';

/** Shorter waits need no explanation. */
const silentMs = 2 * second;

/** One line on a terminal that names the running checks, erased at the end. */
export class Progress implements Disposable {
  readonly #output: Output;
  readonly #clock: Clock;
  readonly #open = new Set<string>();
  readonly #stop = new AbortController();
  #shown = false;

  constructor(output: Output, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  start(): this {
    if (this.#output.isTTY === true) process.once('SIGINT', this.#interrupted);
    return this.show();
  }

  /** For a command that handles SIGINT itself. */
  show(): this {
    if (this.#output.isTTY === true) void this.#run().catch(() => undefined);
    return this;
  }

  readonly note = (what: string, state: 'started' | 'ended'): void => {
    if (state === 'started') this.#open.add(what);
    else this.#open.delete(what);
  };

  /** Writes a line of its own, also without a terminal. */
  say(line: string): void {
    this.#erase();
    this.#output.write(`${line}\n`);
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#interrupted);
    this.#stop.abort();
    this.#erase();
  }

  #erase(): void {
    if (this.#shown) this.#output.write('\r\u001b[K');
    this.#shown = false;
  }

  async #run(): Promise<void> {
    const start = this.#clock.now();
    await this.#clock.sleep(silentMs, this.#stop.signal);
    for (;;) {
      const seconds = Math.round((this.#clock.now() - start) / second);
      const line = `waiting for ${[...this.#open].join(', ')} (${seconds}s)`;
      // A wrapped line could not be erased.
      const width = (this.#output.columns ?? 80) - 1;
      this.#output.write(`\r\u001b[K${line.length > width ? fit(line, width) : line}`);
      this.#shown = true;
      await this.#clock.sleep(second, this.#stop.signal);
    }
  }

  /** Erases the line and lets the signal end the program; there is nothing else to clean up. */
  readonly #interrupted = (): void => {
    this[Symbol.dispose]();
    process.kill(process.pid, 'SIGINT');
  };
}
