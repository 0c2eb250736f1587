import { realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { StoreConfig } from '../../src/core/config.ts';
import type { Finding } from '../../src/core/enrollment.ts';
import { pairFile } from '../../src/store/pair-names.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestPair } from './pairs.ts';
import { present, storeConfig, temporaryDirectory } from './pairs.ts';

export const name = 'kubelet-client';

/** A store on a directory of its own, and what tests do to it behind its back. */
export interface Bench {
  readonly directory: string;
  readonly link: string;
  readonly clock: FakeClock;
  readonly store: PairStore;
  readonly at: (file: string) => string;
  /** A pair file of the past that nothing links to. */
  readonly put: (pair: TestPair, ago: number) => Promise<string>;
}

export async function bench(
  context: TestContext,
  options: { config?: Partial<StoreConfig>; directory?: string } = {},
): Promise<Bench> {
  const directory = options.directory ?? (await realpath(await temporaryDirectory(context)));
  const clock = new FakeClock(present);
  const config = { ...storeConfig, ...options.config };
  const at = (file: string): string => join(directory, file);
  return {
    directory,
    clock,
    at,
    link: at(`${name}-current.pem`),
    store: new PairStore({ directory, name, clock, config }),
    put: async (pair, ago) => {
      const file = pairFile(name, present - ago);
      await writeFile(at(file), pair.pem, { mode: 0o600 });
      return file;
    },
  };
}

export function kinds(findings: readonly Finding[]): string[] {
  return findings.map(({ kind }) => kind);
}
