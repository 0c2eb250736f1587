import { spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';

/**
 * Puts a tmpfs of 16 kB over the directory until the test ends: a file system that
 * fills up, and one that vanishes. Skips the test where mounting is not allowed.
 */
export function mountTmpfs(context: TestContext, directory: string): boolean {
  const { status, stderr, error } = spawnSync(
    'mount',
    ['-t', 'tmpfs', '-o', 'size=16k,mode=755', 'tmpfs', directory],
    { encoding: 'utf8' },
  );
  if (status !== 0) {
    context.skip(`needs the right to mount a tmpfs: ${error?.message ?? stderr.trim()}`);
    return false;
  }
  context.after(() => {
    spawnSync('umount', [directory]);
  });
  return true;
}
