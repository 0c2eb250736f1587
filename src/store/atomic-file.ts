import { mkdir, open, readdir, rename, stat, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { hasErrno } from '../core/errors.ts';
import { attempt, storeError } from '../sys/file-error.ts';

/**
 * Creates a file that did not exist, complete and on the disk when this settles.
 * The mode is exact, whatever the umask, and never wider on the way; a file that
 * could not be completed is removed again.
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO (with the cause EEXIST if the name is taken)
 */
export async function writeNewFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await attempt('write', path, async () => {
    const file = await open(path, 'wx', mode & 0o600);
    try {
      await file.writeFile(bytes);
      await file.chmod(mode);
      await file.sync();
      // Some file systems report a lack of space only here (close(2), NFS).
      await file.close();
    } catch (error) {
      await file.close().catch(ignore);
      await unlink(path).catch(ignore);
      throw error;
    }
  });
}

/** Puts a complete file in the place of another: readers find the old content or the new, never a part. */
export async function replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await putFile(path, { bytes, mode });
  await syncDirectory(dirname(path));
}

/**
 * As `replaceFile`, with a last look at what was written, before it bears the name. A
 * write that is cut short leaves a stray, and never a part of a file under that name.
 * When this settles the file is on the disk, but its name may not be before `syncDirectory`.
 */
export async function putFile(
  path: string,
  file: {
    readonly bytes: Uint8Array;
    readonly mode: number;
    readonly check?: (temporary: string) => Promise<void>;
  },
): Promise<void> {
  const temporary = temporaryPath(path);
  await writeNewFile(temporary, file.bytes, file.mode);
  try {
    await file.check?.(temporary);
  } catch (error) {
    await unlink(temporary).catch(ignore);
    throw error;
  }
  await moveInto(temporary, path);
}

/**
 * Points a link at another file, without a moment in which there is no link:
 * rename(2) replaces it, where unlinking first would leave readers with nothing.
 * When this settles the new link is in place, but may not survive a power cut
 * before `syncDirectory`.
 */
export async function swapLink(options: {
  readonly link: string;
  readonly target: string;
}): Promise<void> {
  const temporary = temporaryPath(options.link);
  await attempt('create the link', temporary, () => symlink(options.target, temporary));
  await moveInto(temporary, options.link);
}

/** `swapLink`, lasting. */
export async function replaceLink(options: {
  readonly link: string;
  readonly target: string;
}): Promise<void> {
  await swapLink(options);
  await syncDirectory(dirname(options.link));
}

/** Makes created, renamed and removed names last; a no-op where the file system cannot (some FUSE and CIFS mounts). */
export async function syncDirectory(directory: string): Promise<void> {
  await attempt('sync the directory', directory, async () => {
    await using handle = await open(directory, 'r');
    await handle.sync().catch((error: unknown) => {
      if (!hasErrno(error, 'EINVAL', 'ENOTSUP', 'ENOSYS')) throw error;
    });
  });
}

/**
 * `mkdir -p` with 0755 less the umask, lasting: each new name is synced in its parent.
 * Not Node's own, which answers ENOENT where the file system is read-only.
 */
export async function makeDirectory(directory: string): Promise<void> {
  const path = resolve(directory);
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    if (await isDirectory(path)) return;
    const parent = dirname(path);
    if (!hasErrno(error, 'ENOENT') || parent === path) {
      throw storeError('create the directory', path, error);
    }
    await makeDirectory(parent);
    return makeDirectory(path);
  }
  await syncDirectory(dirname(path));
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/**
 * Removes what a crash between creating and renaming left behind for this path,
 * and returns the paths. Only for whoever alone writes it.
 */
export async function removeStrays(path: string): Promise<string[]> {
  return removeStraysFor(dirname(path), (name) => name === basename(path));
}

/** As `removeStrays`, for every file whose name is one of those. */
export async function removeStraysFor(
  directory: string,
  isOurs: (name: string) => boolean,
): Promise<string[]> {
  const names = await attempt('list', directory, () => readdir(directory));
  const strays = names.filter((name) => isOurs(strayOf(name) ?? ''));
  for (const name of strays) {
    const stray = join(directory, name);
    await attempt('remove', stray, () => unlink(stray));
  }
  return strays.map((name) => join(directory, name));
}

const strayPattern = /^\.nodecertd-[0-9a-f]{16}\.(?<of>.+?)(?:(?<=\.conf)~)?$/;

/**
 * Hidden, in the same directory (rename works within one file system only), and never the
 * same twice. A kubelet reads every `*.conf` of a folder for drop-ins, hidden ones too.
 */
function temporaryPath(path: string): string {
  const name = basename(path);
  const ending = name.endsWith('.conf') ? '~' : '';
  return join(dirname(path), `.nodecertd-${uniqueSuffix()}.${name}${ending}`);
}

function strayOf(name: string): string | undefined {
  return strayPattern.exec(name)?.groups?.['of'];
}

async function moveInto(temporary: string, path: string): Promise<void> {
  try {
    await attempt('replace', path, () => rename(temporary, path));
  } catch (error) {
    await unlink(temporary).catch(ignore);
    throw error;
  }
}

/** For tidying up after a failure that is reported itself. */
function ignore(): void {}

/** Time and process: enough among those that may write here, and `wx` stands behind it. Spares the keeper node:crypto. */
function uniqueSuffix(): string {
  const mixed = (process.hrtime.bigint() << 22n) | BigInt(process.pid);
  return BigInt.asUintN(64, mixed).toString(16).padStart(16, '0');
}
