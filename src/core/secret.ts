/**
 * Bytes that must not be seen: a private key, a token. However the object is
 * printed, only `[redacted]` comes out; reading takes the explicit `expose()`.
 */
export class Secret {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** Takes the bytes over: wiping the secret wipes the caller's array. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /** The bytes themselves, not a copy; never keep them, never turn a key into a string. */
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
