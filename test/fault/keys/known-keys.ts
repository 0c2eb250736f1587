import type { KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Matcher } from './matcher.ts';
import { needlesOf } from './needles.ts';

/** Every private key so far, as reported by witness.mjs. */
export class KnownKeys {
  /** Searches for all of them. A match names its key with `nameOf`. */
  readonly matcher = new Matcher();
  readonly #directory: string;
  readonly #names = new Set<string>();
  readonly #read = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /** Reads the keys that were reported since the last call. */
  refresh(): void {
    for (const file of readdirSync(this.#directory)) {
      const bytes = readFileSync(join(this.#directory, file));
      let at = this.#read.get(file) ?? 0;
      while (at + 4 <= bytes.length) {
        const end = at + 4 + bytes.readUInt32BE(at);
        if (end > bytes.length) break;
        const key = bytes.subarray(at + 4, end);
        this.add(createPrivateKey({ key, format: 'der', type: 'pkcs8' }));
        at = end;
      }
      this.#read.set(file, at);
    }
  }

  /** Returns the name of the key. */
  add(key: KeyObject): string {
    const name = nameOf(createPublicKey(key));
    if (!this.#names.has(name)) this.matcher.add(needlesOf(name, key));
    this.#names.add(name);
    return name;
  }
}

/** The public key, which identifies the key of a CSR, certificate or private key. */
export function nameOf(publicKey: KeyObject): string {
  return publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
}
