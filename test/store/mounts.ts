import { spawnSync } from 'node:child_process';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/**
 * A directory on its own tmpfs of 16 kB or a limited number of inodes, until the test ends.
 * Such a file system can be full, and its files are volatile. Skips the test where mounting is
 * not allowed.
 */
export async function tmpfsDirectory(
  context: TestContext,
  limit = 'size=16k',
): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-tmpfs-'));
  const { status, stderr, error } = spawnSync(
    'mount',
    ['-t', 'tmpfs', '-o', `${limit},mode=755`, 'tmpfs', directory],
    { encoding: 'utf8' },
  );
  context.after(async () => {
    if (status === 0) spawnSync('umount', [directory]);
    await rmdir(directory);
  });
  if (status === 0) return directory;
  context.skip(`needs the right to mount a tmpfs: ${error?.message ?? stderr.trim()}`);
  return undefined;
}
