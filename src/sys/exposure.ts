import { lstat, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { showMode } from '../core/file-mode.ts';

/** The reason why users other than root and the agent's user can replace a file. */
export interface Exposure {
  /** A sentence that names the file or directory that these users can change. */
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

/** The limit of the kernel; path_resolution(7). */
const maxLinks = 40;

/**
 * Checks whether other users can replace the file at an absolute path: inspects every directory
 * and link on the way, and the file itself. Undefined if only root and `user` can replace it.
 * Does not check the files that a script reads or runs.
 * @throws errors of lstat(2) and readlink(2), such as ENOENT
 */
export async function exposureOf(path: string, user = ownUser()): Promise<Exposure | undefined> {
  const rest = partsOf(path);
  const root = exposureOfEntry(await inspect('/'), user);
  if (root !== undefined) return root;
  let folder = '/';
  for (let links = 0; rest.length > 0;) {
    const name = rest.shift() ?? '';
    if (name === '..') {
      folder = dirname(folder);
      continue;
    }
    const entry = await inspect(join(folder, name));
    const exposure = exposureOfEntry(entry, user);
    if (exposure !== undefined) return exposure;
    if (entry.linksTo === undefined) {
      folder = entry.path;
      continue;
    }
    links += 1;
    if (links > maxLinks)
      return { what: `${path} is a loop of links`, remedy: `Find the loop: ls -l ${path}` };
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

async function inspect(path: string): Promise<Entry> {
  const found = await lstat(path);
  return {
    path,
    mode: found.mode,
    owner: found.uid,
    isDirectory: found.isDirectory(),
    ...(found.isSymbolicLink() && { linksTo: await readlink(path) }),
  };
}

function exposureOfEntry(entry: Entry, user: number): Exposure | undefined {
  const { path, mode, owner, isDirectory, linksTo } = entry;
  if (owner !== 0 && owner !== user) {
    return {
      what: `${path} belongs to user ${owner}, who can replace it`,
      remedy: `Fix the owner: chown ${linksTo === undefined ? '' : '-h '}root ${path}`,
    };
  }
  // A link has no mode of its own, and in a sticky directory users can replace only their own
  // files.
  if (linksTo !== undefined || (isDirectory && (mode & sticky) !== 0)) return undefined;
  if ((mode & othersMayWrite) === 0) return undefined;
  return {
    what: `${path} has mode ${showMode(mode)}: users other than its owner can change it`,
    remedy: `Fix the mode: chmod go-w ${path}`,
  };
}

const othersMayWrite = 0o022;
const sticky = 0o1000;
