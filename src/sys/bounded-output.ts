/** The output of a program, up to a limit in bytes. Disposal wipes it. */
export class BoundedOutput implements Disposable {
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  readonly #overflow = new AbortController();
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(chunk: Buffer): void {
    this.#length += chunk.length;
    this.#chunks.push(chunk);
    if (this.#length > this.#limit) this.#overflow.abort();
    if (this.overflow.aborted) this[Symbol.dispose]();
  }

  /** Aborted once the output is longer than the limit. */
  get overflow(): AbortSignal {
    return this.#overflow.signal;
  }

  text(): string {
    const whole = Buffer.concat(this.#chunks);
    try {
      return whole.toString('utf8');
    } finally {
      whole.fill(0);
    }
  }

  [Symbol.dispose](): void {
    for (const chunk of this.#chunks.splice(0)) chunk.fill(0);
  }
}
