/** Holds one replaceable resource. Disposing the slot disposes its current content. */
export class Slot<T extends AsyncDisposable> implements AsyncDisposable {
  #content: T;

  constructor(content: T) {
    this.#content = content;
  }

  get content(): T {
    return this.#content;
  }

  /** Returns the previous content; the caller disposes it once it is unused. */
  exchange(next: T): T {
    const old = this.#content;
    this.#content = next;
    return old;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#content[Symbol.asyncDispose]();
  }
}
