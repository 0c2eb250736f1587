import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
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
  removeDeadClusters();
  const owner = [namespaceOf('self'), process.pid, startOf(process.pid)].join('-');
  return mkdtempSync(join(clusters, `${owner}-`));
}

/** A scenario of a CA rollover is the first process of a PID namespace, and sees no other tests. */
export function removeDeadClusters(): void {
  mkdirSync(clusters, { recursive: true });
  if (process.pid === 1) return;
  for (const name of readdirSync(clusters)) {
    if (!isAlive(name)) removeClusterDirectory(join(clusters, name));
  }
}

/** Removes the folder, and what its containers have left elsewhere. Their processes must be killed. */
export function removeClusterDirectory(directory: string): void {
  for (const container of globSync(join(directory, `${namePrefix}*`))) removeContainer(container);
  rmSync(directory, { recursive: true, force: true });
}

/**
 * The name has the process that created the folder, with its PID namespace. The processes of another
 * namespace have other PIDs here. A PID may be in use again.
 */
function isAlive(name: string): boolean {
  const [namespace = '', pid = '', start] = basename(name).split('-');
  if (namespace === namespaceOf('self')) return startOf(Number(pid)) === start;
  return readdirSync('/proc').some((entry) => namespaceOf(entry) === namespace);
}

/** The inode, as in the link `pid:[4026531836]`. Undefined without such a process. */
function namespaceOf(pid: string): string | undefined {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${pid}/ns/pid`))?.[0];
  } catch {
    return undefined;
  }
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
