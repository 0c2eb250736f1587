import { lstat, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { showMode } from '../core/file-mode.ts';

/** Why others than root and this user decide what a path leads to. */
export interface Exposure {
  /** A sentence about the file or folder that is open to them. */
  readonly what: string;
  readonly remedy: string;
}

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly owner: number;
  readonly isDirectory: boolean;
  readonly linksTo?: string;
}

/** As many as the kernel follows; path_resolution(7). */
const mostLinks = 40;

/**
 * Looks at an absolute path as whoever wants to put something else in its place would: each
 * folder on the way, each link, and the file itself. Undefined when only root and this
 * user can. What a script reads or runs in its turn is not looked at.
 * @throws what lstat(2) and readlink(2) answer, ENOENT above all
 */
export async function exposureOf(path: string, user = ownUser()): Promise<Exposure | undefined> {
  const rest = partsOf(path);
  const root = judge(await look('/'), user);
  if (root !== undefined) return root;
  let folder = '/';
  for (let links = 0; rest.length > 0;) {
    const name = rest.shift() ?? '';
    if (name === '..') {
      folder = dirname(folder);
      continue;
    }
    const entry = await look(join(folder, name));
    const exposure = judge(entry, user);
    if (exposure !== undefined) return exposure;
    if (entry.linksTo === undefined) {
      folder = entry.path;
      continue;
    }
    links += 1;
    if (links > mostLinks) return { what: `${path} leads in a circle`, remedy: `ls -l ${path}` };
    if (isAbsolute(entry.linksTo)) folder = '/';
    rest.unshift(...partsOf(entry.linksTo));
  }
  return undefined;
}

function ownUser(): number {
  return process.geteuid?.() ?? 0;
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

async function look(path: string): Promise<Entry> {
  const found = await lstat(path);
  return {
    path,
    mode: found.mode,
    owner: found.uid,
    isDirectory: found.isDirectory(),
    ...(found.isSymbolicLink() && { linksTo: await readlink(path) }),
  };
}

function judge(entry: Entry, user: number): Exposure | undefined {
  const { path, mode, owner, isDirectory, linksTo } = entry;
  if (owner !== 0 && owner !== user) {
    return {
      what: `${path} belongs to user ${owner}, who decides what it is`,
      remedy: `chown ${linksTo === undefined ? '' : '-h '}root ${path}`,
    };
  }
  // A link has no mode of its own, and in a sticky folder each may replace only what is his.
  if (linksTo !== undefined || (isDirectory && (mode & sticky) !== 0)) return undefined;
  if ((mode & othersMayWrite) === 0) return undefined;
  return {
    what: `${path} has mode ${showMode(mode)}: others than its owner may change it`,
    remedy: `chmod go-w ${path}`,
  };
}

const othersMayWrite = 0o022;
const sticky = 0o1000;
