import { join } from 'node:path';
import { goModuleDirectory, isExecutable, skip } from './programs.ts';

/** The Go programs of the tests, each with its package below test/. `make control-plane` builds them. */
export const goPrograms = {
  'bench-client-go': './bench/client-go',
  'fake-runtime': './real/fake-runtime',
  'fault-filestore': './fault/filestore',
  'fault-signer': './fault/signer',
  'kubeadm-discovery': './real/kubeadm-discovery',
  pause: './real/pause',
} as const;

export type GoProgram = keyof typeof goPrograms;

/** Inside the tree, because their sources are. */
export const goProgramDirectory = join(goModuleDirectory, '../.cache/go-programs');

/** @throws when it has not been built: a test that builds it would take minutes */
export function goProgram(name: GoProgram): string {
  const program = join(goProgramDirectory, name);
  if (isExecutable(program)) return program;
  throw new Error(`${program} is missing: run make control-plane`);
}

export function areGoProgramsBuilt(): boolean {
  return Object.keys(goPrograms).every((name) => isExecutable(join(goProgramDirectory, name)));
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutGoProgram(name: GoProgram): string | false {
  if (isExecutable(join(goProgramDirectory, name))) return false;
  return skip(`tests with ${name}: not built (make control-plane)`);
}
