import { readFileSync } from 'node:fs';
import { skip } from './programs.ts';

/** The kernel writes core dumps to the working directory, unless this is a path or a program. */
const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();

export const areDumpsInWorkingDirectory = /^[^|/]+$/.test(pattern);

/** For the `skip` option of a test. @throws in CI */
export function skipWithoutDumps(): string | false {
  return areDumpsInWorkingDirectory
    ? false
    : skip(`tests of core dumps: the kernel sends them to ${pattern}`);
}

/** A command that runs its arguments with core dumps of any size. */
export const withDumps: readonly string[] = ['sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh'];
