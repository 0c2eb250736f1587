import { globSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { namePrefix, removeContainer } from './container-process.ts';
import { cacheDirectory } from './programs.ts';

/**
 * The folders of the clusters of this user, one for each. They are beside the images,
 * because the nodes share these by hard links.
 */
const clusters = join(cacheDirectory, 'clusters');

/** Also removes what killed test runs have left. */
export function createClusterDirectory(): string {
  mkdirSync(clusters, { recursive: true });
  for (const name of readdirSync(clusters)) {
    if (!isAlive(name)) removeClusterDirectory(join(clusters, name));
  }
  return mkdtempSync(join(clusters, `${process.pid}-${startOf(process.pid)}-`));
}

/** Removes the folder, and what its containers have left elsewhere. Their processes must be killed. */
export function removeClusterDirectory(directory: string): void {
  for (const container of globSync(join(directory, `${namePrefix}*`))) removeContainer(container);
  rmSync(directory, { recursive: true, force: true });
}

/** The name has the process that created the folder. Its PID may be in use again. */
function isAlive(name: string): boolean {
  const [pid = '', start] = basename(name).split('-');
  return startOf(Number(pid)) === start;
}

/** proc_pid_stat(5): field 22 is the start time. The second field may contain spaces. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[22 - 3];
  } catch {
    return undefined;
  }
}
