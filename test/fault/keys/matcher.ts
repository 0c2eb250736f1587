import type { Needle } from './needles.ts';

/** The position of a needle. */
export interface Match {
  readonly needle: Needle;
  readonly offset: number;
}

/**
 * Searches for many thousand needles at once. A bitmap of the first three bytes selects
 * the positions to compare. A gigabyte takes seconds; one pass for each needle would
 * take hours.
 */
export class Matcher {
  readonly #marked = new Uint8Array(2 ** 21);
  readonly #byStart = new Map<number, Needle[]>();
  #longest = 0;

  add(needles: readonly Needle[]): void {
    for (const needle of needles) {
      const { bytes } = needle;
      if (bytes.length < shortest) throw new Error(`${needle.form} is too short to search for`);
      const start = bytes.readUIntBE(0, 3);
      this.#marked[start >> 3] = (this.#marked[start >> 3] ?? 0) | (1 << (start & 7));
      const known = this.#byStart.get(start);
      if (known === undefined) this.#byStart.set(start, [needle]);
      else known.push(needle);
      this.#longest = Math.max(this.#longest, bytes.length);
    }
  }

  /** The overlap that is needed to search in parts. */
  get overlap(): number {
    return Math.max(this.#longest - 1, 0);
  }

  search(bytes: Uint8Array): Match[] {
    const marked = this.#marked;
    const found: Match[] = [];
    let window = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
    for (let at = 2; at < bytes.length; at += 1) {
      window = ((window << 8) | (bytes[at] ?? 0)) & 0xffffff;
      if (((marked[window >> 3] ?? 0) & (1 << (window & 7))) !== 0) {
        this.#compare(bytes, { start: window, offset: at - 2, found });
      }
    }
    return found;
  }

  #compare(
    bytes: Uint8Array,
    { start, offset, found }: { start: number; offset: number; found: Match[] },
  ): void {
    for (const needle of this.#byStart.get(start) ?? []) {
      if (startsWith(bytes, needle.bytes, offset)) found.push({ needle, offset });
    }
  }
}

/** 80 bits, so that no match is random. */
const shortest = 10;

function startsWith(bytes: Uint8Array, needle: Buffer, offset: number): boolean {
  if (offset + needle.length > bytes.length) return false;
  for (let index = 3; index < needle.length; index += 1) {
    if (bytes[offset + index] !== needle[index]) return false;
  }
  return true;
}
