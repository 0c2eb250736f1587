import type { KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Matcher } from './matcher.ts';
import { needlesOf } from './needles.ts';

/** Every private key that was made so far, as witness.mjs tells them, ready to be searched for. */
export class KnownKeys {
  /** Finds them all; a match names its key by `nameOf`. */
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

  /** Takes over what was told since the last time. */
  refresh(): void {
    for (const file of readdirSync(this.#directory)) {
      const bytes = readFileSync(join(this.#directory, file));
      let at = this.#read.get(file) ?? 0;
      while (at + 4 <= bytes.length) {
        const end = at + 4 + bytes.readUInt32BE(at);
        if (end > bytes.length) break;
        this.#add(bytes.subarray(at + 4, end));
        at = end;
      }
      this.#read.set(file, at);
    }
  }

  #add(der: Buffer): void {
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const name = nameOf(createPublicKey(key));
    this.#names.add(name);
    this.matcher.add(needlesOf(name, key));
  }
}

/** The public key, by which requests, certificates and keys are brought together. */
export function nameOf(publicKey: KeyObject): string {
  return publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
}
