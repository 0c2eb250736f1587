import { renameSync } from 'node:fs';
import { mkdir, open, readdir, rename, stat, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { attempt, storeError, unlessMissing } from '../sys/file-error.ts';

/**
 * Creates a file and syncs it to disk. The file has exactly this mode regardless of the umask,
 * and never a wider one. Removes the file if the write fails.
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO (with the cause EEXIST if the name
 * exists)
 */
export async function writeNewFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await attempt('write', path, async () => {
    const file = await open(path, 'wx', mode & 0o600);
    try {
      await file.writeFile(bytes);
      await file.chmod(mode);
      await file.sync();
      // Some file systems report a lack of space only in close(2), NFS for example.
      await file.close();
    } catch (error) {
      await file.close().catch(ignore);
      await unlink(path).catch(ignore);
      throw error;
    }
  });
}

/** Replaces a file as a whole: readers find the previous content or the new one, never a part. */
export async function replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await putFile(path, { bytes, mode });
  await syncDirectory(dirname(path));
}

/**
 * Like `replaceFile`, but runs `check` on the temporary file first, and does not sync the
 * directory. An interrupted write leaves a temporary file, never an incomplete file at the path.
 * The new name survives a power loss only after `syncDirectory`.
 */
export async function putFile(
  path: string,
  file: {
    readonly bytes: Uint8Array;
    readonly mode: number;
    readonly check?: (temporary: string) => Promise<void>;
  },
): Promise<void> {
  const { temporary } = await stageFile(path, file);
  await moveInto(temporary, path);
}

/** A complete, synced file beside the one it will replace. */
export interface StagedFile {
  readonly temporary: string;
  /**
   * Replaces the file, without giving another task a turn: two of these calls are microseconds
   * apart, two asynchronous ones up to a few milliseconds.
   */
  commit(): void;
  /** Removes the staged file. Does nothing after `commit()`. */
  discard(): Promise<void>;
}

/**
 * Writes a file without replacing the one at the path. Several staged files can replace theirs
 * one directly after the other.
 */
export async function stageFile(
  path: string,
  file: Parameters<typeof putFile>[1],
): Promise<StagedFile> {
  const temporary = temporaryPath(path);
  await writeNewFile(temporary, file.bytes, file.mode);
  const discard = async (): Promise<void> => unlink(temporary).catch(ignore);
  try {
    await file.check?.(temporary);
  } catch (error) {
    await discard();
    throw error;
  }
  return { temporary, commit: () => renameNow(temporary, path), discard };
}

/**
 * Points a link at another file without a moment in which the link is missing: rename(2)
 * replaces it, while unlinking it first would leave readers without a certificate. The new
 * link may not survive a power loss before `syncDirectory`.
 */
export async function swapLink(options: {
  readonly link: string;
  readonly target: string;
}): Promise<void> {
  const temporary = temporaryPath(options.link);
  await attempt('create the link', temporary, () => symlink(options.target, temporary));
  await moveInto(temporary, options.link);
}

/** Like `swapLink`, and syncs the directory. */
export async function replaceLink(options: {
  readonly link: string;
  readonly target: string;
}): Promise<void> {
  await swapLink(options);
  await syncDirectory(dirname(options.link));
}

/**
 * Syncs created, renamed and removed names to disk. Does nothing on a file system that cannot
 * sync a directory (some FUSE and CIFS mounts).
 */
export async function syncDirectory(directory: string): Promise<void> {
  await attempt('sync the directory', directory, async () => {
    await using handle = await open(directory, 'r');
    await handle.sync().catch((error: unknown) => {
      if (!hasErrno(error, 'EINVAL', 'ENOTSUP', 'ENOSYS')) throw error;
    });
  });
}

/**
 * `mkdir -p` with mode 0755 minus the umask, and syncs each new name in its parent. Node's own
 * recursive mkdir reports ENOENT on a read-only file system.
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
 * Removes the temporary files of interrupted writes of this path, and returns their paths. Call
 * it only while no other process writes the path.
 */
export async function removeStrays(path: string): Promise<string[]> {
  return removeStraysFor(dirname(path), (name) => name === basename(path));
}

/**
 * Like `removeStrays`, but only files that were written before this moment, because another process
 * may be writing the path.
 */
export async function removeStraysBefore(path: string, moment: Instant): Promise<string[]> {
  const strays = await straysIn(dirname(path), (name) => name === basename(path));
  const removed: string[] = [];
  for (const stray of strays) {
    const found = await unlessMissing(() => stat(stray));
    if (found === undefined || found.mtimeMs >= moment) continue;
    await attempt('remove', stray, () => unlink(stray));
    removed.push(stray);
  }
  return removed;
}

/** Like `removeStrays`, for every file name that `isOurs` accepts. */
export async function removeStraysFor(
  directory: string,
  isOurs: (name: string) => boolean,
): Promise<string[]> {
  const strays = await straysIn(directory, isOurs);
  for (const stray of strays) await attempt('remove', stray, () => unlink(stray));
  return strays;
}

async function straysIn(directory: string, isOurs: (name: string) => boolean): Promise<string[]> {
  const names = await attempt('list', directory, () => readdir(directory));
  const strays = names.filter((name) => isOurs(nameBehindStray(name) ?? ''));
  return strays.map((name) => join(directory, name));
}

const strayPattern = /^\.nodecertd-[0-9a-f]{16}\.(?<of>.+?)(?:(?<=\.conf)~)?$/;

/**
 * A hidden, unique name in the same directory, because rename(2) works only within one file
 * system. A kubelet reads every `*.conf` file of its drop-in directory, hidden ones too, so the
 * name must not end in `.conf`.
 */
function temporaryPath(path: string): string {
  const name = basename(path);
  const ending = name.endsWith('.conf') ? '~' : '';
  return join(dirname(path), `.nodecertd-${uniqueSuffix()}.${name}${ending}`);
}

function nameBehindStray(name: string): string | undefined {
  return strayPattern.exec(name)?.groups?.['of'];
}

function renameNow(temporary: string, path: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    throw storeError('replace', path, error);
  }
}

async function moveInto(temporary: string, path: string): Promise<void> {
  try {
    await attempt('replace', path, () => rename(temporary, path));
  } catch (error) {
    await unlink(temporary).catch(ignore);
    throw error;
  }
}

/** Ignores a failed cleanup, because the caller reports the error before it. */
function ignore(): void {}

/**
 * The time and the process id distinguish all writers, and the flag `wx` detects a duplicate.
 * Loading node:crypto instead would cost the keeper memory.
 */
function uniqueSuffix(): string {
  const mixed = (process.hrtime.bigint() << 22n) | BigInt(process.pid);
  return BigInt.asUintN(64, mixed).toString(16).padStart(16, '0');
}
