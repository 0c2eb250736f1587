import { createHash } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { access, chown, stat, unlink, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasErrno } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { readDatedFile } from '../sys/small-file.ts';
import type { StagedFile } from './atomic-file.ts';
import { stageFile, syncDirectory, writeNewFile } from './atomic-file.ts';
import { attempt, isMissing, unlessMissing } from '../sys/file-error.ts';
import type { FileState } from './run-manifest.ts';

/** The content, owner, mode and modification time of a file. */
export interface FileContent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly state: FileState;
  /** Absent for new content: its file gets the current time. */
  readonly modifiedAt?: Instant;
}

const largestFile = 1024 * 1024;

/** Undefined when there is no file. @throws AgentError STORE_PERMISSIONS, STORE_IO */
export async function readContent(path: string): Promise<FileContent | undefined> {
  return unlessMissing(() =>
    attempt('read', path, async () => {
      const { mode, uid, gid } = await stat(path);
      const { bytes, modifiedAt } = await readDatedFile(path, largestFile);
      const state = { sha256: digestOf(bytes), mode: showMode(mode), uid, gid };
      return { bytes, state, modifiedAt };
    }),
  );
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Replaces a file atomically, with owner and mode, and syncs it.
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO, before any change
 */
export async function replaceContent(path: string, { bytes, state }: FileContent): Promise<void> {
  await replaceContents([{ path, content: { bytes, state } }]);
}

/**
 * Replaces several files, each atomically. All new files are complete and synced before the first
 * one gets its name, so that readers see the files disagree for as short a time as possible. Files
 * without new content are removed at the end.
 * @param prepare called for each file that replaces another one, before any of them gets its name
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO; after a failed rename, the files
 * before it are replaced
 */
export async function replaceContents(
  files: readonly { readonly path: string; readonly content?: FileContent | undefined }[],
  prepare: (path: string, temporary: string) => Promise<void> = async () => undefined,
): Promise<void> {
  const staged: StagedFile[] = [];
  try {
    for (const { path, content } of files) {
      const isThere = await requireReplaceable(path);
      if (content === undefined) continue;
      const { bytes, state } = content;
      const check = async (temporary: string): Promise<void> => {
        if (isThere) await prepare(path, temporary);
        await changeTime(temporary, content);
        await changeOwner(temporary, state);
      };
      staged.push(await stageFile(path, { bytes, mode: Number.parseInt(state.mode, 8), check }));
    }
    using _ = holdOpen(files.map(({ path }) => path));
    for (const file of staged) file.commit();
  } catch (error) {
    for (const file of staged) await file.discard();
    throw error;
  }
  const written = files.filter(({ content }) => content !== undefined);
  for (const directory of new Set(written.map(({ path }) => dirname(path)))) {
    await syncDirectory(directory);
  }
  for (const { path, content } of files) if (content === undefined) await removeContent(path);
}

/**
 * Finds an immutable file (chattr +i) before another file of the same group is replaced.
 * @returns whether there is a file
 */
export async function requireReplaceable(path: string): Promise<boolean> {
  return attempt('replace', path, async () => {
    try {
      await access(path, constants.W_OK);
      return true;
    } catch (error) {
      if (hasErrno(error, 'EPERM', 'EROFS')) throw error;
      return !isMissing(error);
    }
  });
}

/**
 * Keeps files open while others replace them. Otherwise each rename(2) also deletes the previous
 * file, which takes as long as a hundred renames: with this, ext4 on a busy machine had a median
 * of 8 µs between two renames, and without it 200 µs.
 */
function holdOpen(paths: readonly string[]): Disposable {
  const open = paths.flatMap((path) => {
    try {
      return [openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)];
    } catch {
      // There is no file yet.
      return [];
    }
  });
  return {
    [Symbol.dispose]: () => {
      for (const descriptor of open) closeSync(descriptor);
    },
  };
}

/**
 * Writes a new file with the owner, mode and modification time of the original.
 * @throws AgentError as replaceContent
 */
export async function copyContent(path: string, content: FileContent): Promise<void> {
  const { bytes, state } = content;
  await writeNewFile(path, bytes, Number.parseInt(state.mode, 8));
  await changeTime(path, content);
  await changeOwner(path, state);
}

/** Removes a file and syncs its directory. */
export async function removeContent(path: string): Promise<void> {
  await unlessMissing(() => attempt('remove', path, () => unlink(path)));
  await syncDirectory(dirname(path));
}

/** Only root can change an owner, so a file with the right owner is not touched. */
async function changeOwner(path: string, { uid, gid }: FileState): Promise<void> {
  if (uid === process.geteuid?.() && gid === process.getegid?.()) return;
  await attempt('change the owner of', path, () => chown(path, uid, gid));
}

/**
 * A restored certificate keeps its due time, because the time of its file counts as the time of
 * issue. Without the original time it is due later, but never after it has expired. So a file
 * system that cannot set times does not prevent a copy or a restoration. Comes before the change of
 * the owner: without CAP_FOWNER, only the owner can set a time.
 */
async function changeTime(path: string, { modifiedAt }: FileContent): Promise<void> {
  if (modifiedAt === undefined) return;
  // A time of day in seconds has no exact form. Without the half, it may be a millisecond earlier.
  const seconds = (modifiedAt + 0.5) / second;
  await utimes(path, seconds, seconds).catch(() => undefined);
}
