import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { cacheDirectory, goModuleDirectory } from './programs.ts';

/**
 * Builds a Go program of the tests' own, and returns where it is. Each time: its source
 * is in this repository and may have changed, and Go notices when it has not.
 * @param source its package, relative to the module of the tests
 */
export function buildGoProgram(name: string, source: string): string {
  const command = join(cacheDirectory, name);
  execFileSync('go', ['build', '-buildvcs=false', '-ldflags', '-s -w', '-o', command, source], {
    cwd: goModuleDirectory,
    env: { ...process.env, CGO_ENABLED: '0' },
  });
  return command;
}
