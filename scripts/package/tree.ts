import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, lutimes, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Entry {
  /** Relative to the root, without a leading slash. */
  readonly path: string;
  readonly stats: Stats;
}

/** Returns everything below a folder, in an order that does not depend on the file system. */
export async function readTree(root: string): Promise<Entry[]> {
  const paths = await readdir(root, { recursive: true });
  return Promise.all(
    paths.toSorted().map(async (path) => ({ path, stats: await lstat(join(root, path)) })),
  );
}

/**
 * Counts as dpkg-gencontrol does: the blocks of 1 KiB of each file, and one for each
 * folder or link.
 */
export function installedSize(entries: readonly Entry[]): number {
  const sizes = entries.map(({ stats }) => (stats.isFile() ? Math.ceil(stats.size / 1_024) : 1));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Returns the output of md5sum, which dpkg --verify needs to find changed files. */
export async function md5sums(root: string, entries: readonly Entry[]): Promise<string> {
  const files = entries.filter(({ path, stats }) => stats.isFile() && !isConfiguration(path));
  const lines = await Promise.all(
    files.map(async ({ path }) => {
      const digest = createHash('md5').update(await readFile(join(root, path)));
      return `${digest.digest('hex')}  ${path}\n`;
    }),
  );
  return lines.join('');
}

/**
 * Lists the files that an upgrade keeps if they were changed: all of /etc (Debian
 * Policy 10.7.3).
 */
export function conffiles(entries: readonly Entry[]): string {
  const files = entries.filter(({ path, stats }) => stats.isFile() && isConfiguration(path));
  return files.map(({ path }) => `/${path}\n`).join('');
}

/** Sets one time everywhere, because the archive would otherwise contain the time of the build. */
export async function setTimes(root: string, date: Date): Promise<void> {
  const entries = await readTree(root);
  for (const { path } of entries) await lutimes(join(root, path), date, date);
  await lutimes(root, date, date);
}

function isConfiguration(path: string): boolean {
  return path.startsWith('etc/');
}
