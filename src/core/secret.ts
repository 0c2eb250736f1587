/**
 * A private key or a token. Printing or serializing the object shows `[redacted]`. Only
 * `expose()` returns the bytes.
 */
export class Secret {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** Does not copy: wiping the secret wipes the caller's array. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /**
   * Returns the bytes themselves, not a copy. Do not keep the bytes, and never turn a key into a
   * string.
   */
  expose(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  wipe(): void {
    this.#bytes.fill(0);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return redacted;
  }
}

const redacted = '[redacted]';
