import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, lutimes, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Entry {
  /** Below the root, without a slash in front. */
  readonly path: string;
  readonly stats: Stats;
}

/** Everything below a directory, in an order that does not depend on the file system. */
export async function readTree(root: string): Promise<Entry[]> {
  const paths = await readdir(root, { recursive: true });
  return Promise.all(
    paths.toSorted().map(async (path) => ({ path, stats: await lstat(join(root, path)) })),
  );
}

/** As dpkg-gencontrol counts it: what each file takes in blocks of 1 KiB, and one for each folder or link. */
export function installedSize(entries: readonly Entry[]): number {
  const sizes = entries.map(({ stats }) => (stats.isFile() ? Math.ceil(stats.size / 1_024) : 1));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** In the form of md5sum, by which dpkg --verify finds what was changed. */
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

/** Files that an upgrade does not overwrite where they were changed: all of /etc (Debian Policy 10.7.3). */
export function conffiles(entries: readonly Entry[]): string {
  const files = entries.filter(({ path, stats }) => stats.isFile() && isConfiguration(path));
  return files.map(({ path }) => `/${path}\n`).join('');
}

/** Otherwise the archive would tell when it was built. */
export async function setTimes(root: string, date: Date): Promise<void> {
  const entries = await readTree(root);
  for (const { path } of entries) await lutimes(join(root, path), date, date);
  await lutimes(root, date, date);
}

function isConfiguration(path: string): boolean {
  return path.startsWith('etc/');
}
