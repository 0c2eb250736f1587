import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { controlPlaneDirectory, findProgram, skip } from './programs.ts';

/** kubectl on PATH, or the one built along with the real control plane. */
export function findKubectl(): string | undefined {
  const built = join(controlPlaneDirectory(), 'kubectl');
  return existsSync(built) ? built : findProgram('kubectl');
}

/** For the `skip` option of a test. */
export function skipWithoutKubectl(): string | false {
  return findKubectl() === undefined && skip('tests with kubectl: not found');
}
