/** Holds one thing that another may take the place of; disposing of the slot disposes of the one in it. */
export class Slot<T extends AsyncDisposable> implements AsyncDisposable {
  #content: T;

  constructor(content: T) {
    this.#content = content;
  }

  get content(): T {
    return this.#content;
  }

  /** Returns what was there, for the caller to dispose of when nobody uses it any more. */
  exchange(next: T): T {
    const old = this.#content;
    this.#content = next;
    return old;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#content[Symbol.asyncDispose]();
  }
}
