import { lstat, readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** The owner, mode and content of every file and link below a folder, except in one folder. */
export async function snapshot(
  root: string,
  except = '/var/lib/nodecertd',
): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found = new Map<string, string>();
  for (const entry of entries) {
    const physical = join(entry.parentPath, entry.name);
    const path = physical.slice(root.length);
    if (path.startsWith(except) || entry.isDirectory()) continue;
    const { mode, uid, gid } = await lstat(physical);
    const content = entry.isSymbolicLink()
      ? `-> ${await readlink(physical)}`
      : await readFile(physical, 'latin1');
    found.set(path, `${mode.toString(8)} ${uid}:${gid} ${content}`);
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The modification time of every file below a folder, except in one folder. */
export async function modificationTimes(
  root: string,
  except: string,
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const path of (await snapshot(root, except)).keys()) {
    found.set(path, Math.floor((await lstat(join(root, path))).mtimeMs));
  }
  return found;
}
