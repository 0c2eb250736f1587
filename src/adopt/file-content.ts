import { createHash } from 'node:crypto';
import { chown, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { showMode } from '../core/file-mode.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { putFile, syncDirectory, writeNewFile } from '../store/atomic-file.ts';
import { attempt, unlessMissing } from '../sys/file-error.ts';
import type { FileState } from './manifest.ts';

/** The content, owner and mode of a file. */
export interface FileContent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly state: FileState;
}

const largestFile = 1024 * 1024;

/** Undefined when there is no file. @throws AgentError STORE_PERMISSIONS, STORE_IO */
export async function readContent(path: string): Promise<FileContent | undefined> {
  return unlessMissing(() =>
    attempt('read', path, async () => {
      const { mode, uid, gid } = await stat(path);
      const bytes = await readSmallFile(path, largestFile);
      return { bytes, state: { sha256: digestOf(bytes), mode: showMode(mode), uid, gid } };
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
  const mode = Number.parseInt(state.mode, 8);
  await putFile(path, { bytes, mode, check: (temporary) => changeOwner(temporary, state) });
  await syncDirectory(dirname(path));
}

/**
 * Writes a new file with the owner and mode of the original.
 * @throws AgentError as replaceContent
 */
export async function copyContent(path: string, { bytes, state }: FileContent): Promise<void> {
  await writeNewFile(path, bytes, Number.parseInt(state.mode, 8));
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
