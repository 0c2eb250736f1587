/**
 * Repeatable random numbers: a seed and a number give the same values on every machine,
 * so that one input can be recreated alone.
 */
export class Random {
  #state: number;

  constructor(seed: number, index = 0) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(index + 1, 0xc2b2ae35)) | 0;
    this.integer();
  }

  /** 32 bits (the mixing of splitmix32). */
  integer(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A number in [0, limit). */
  below(limit: number): number {
    return limit <= 0 ? 0 : this.integer() % limit;
  }

  chance(share: number): boolean {
    return this.integer() < share * 2 ** 32;
  }

  pick<T>(values: readonly T[]): T {
    const index = this.below(values.length);
    if (index >= values.length) throw new RangeError('nothing to pick from');
    return values[index] as T;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.integer() & 0xff);
  }
}

/** A seed from the content (FNV-1a), so that the sizes of the chunks need not be stored. */
export function seedOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes.subarray(0, 4096)) hash = Math.imul(hash ^ byte, 0x01000193);
  return Math.imul(hash ^ bytes.length, 0x01000193) >>> 0;
}
