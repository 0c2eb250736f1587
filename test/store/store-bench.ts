import { realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { StoreConfig } from '../../src/core/config.ts';
import type { Finding } from '../../src/core/enroller-protocol.ts';
import { pairFile } from '../../src/store/pair-names.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestPair } from './pairs.ts';
import { present, storeConfig, temporaryDirectory } from './pairs.ts';

export const name = 'kubelet-client';

export interface StoreParts {
  readonly name?: string;
  readonly clock?: FakeClock;
  readonly config?: Partial<StoreConfig>;
}

/** A store on an existing directory, with defaults for the rest. */
export function storeIn(directory: string, parts: StoreParts = {}): PairStore {
  const clock = parts.clock ?? new FakeClock(present);
  const config = { ...storeConfig, ...parts.config };
  return new PairStore({ directory, name: parts.name ?? name, clock, config });
}

/** A store on a directory of its own, with ways to change that directory. */
export interface Bench {
  readonly directory: string;
  readonly link: string;
  readonly clock: FakeClock;
  readonly store: PairStore;
  readonly at: (file: string) => string;
  /** An old key pair file that no link points to. */
  readonly put: (pair: TestPair, ago: number) => Promise<string>;
}

export async function bench(
  context: TestContext,
  options: StoreParts & { readonly directory?: string } = {},
): Promise<Bench> {
  const directory = options.directory ?? (await realpath(await temporaryDirectory(context)));
  const { clock = new FakeClock(present), name: stem = name } = options;
  const at = (file: string): string => join(directory, file);
  return {
    directory,
    clock,
    at,
    link: at(`${stem}-current.pem`),
    store: storeIn(directory, { ...options, clock }),
    put: async (pair, ago) => {
      const file = pairFile(stem, present - ago);
      await writeFile(at(file), pair.pem, { mode: 0o600 });
      return file;
    },
  };
}

export function kinds(findings: readonly Finding[]): string[] {
  return findings.map(({ kind }) => kind);
}
