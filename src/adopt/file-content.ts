import { createHash } from 'node:crypto';
import { chown, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { showMode } from '../core/file-mode.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { putFile, syncDirectory, writeNewFile } from '../store/atomic-file.ts';
import { attempt, unlessMissing } from '../sys/file-error.ts';
import type { FileState } from './manifest.ts';

/** A file as a whole: what it says, whose it is and who may read it. */
export interface FileContent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly state: FileState;
}

const largestFile = 1024 * 1024;

/** Undefined where there is no file. @throws AgentError STORE_PERMISSIONS, STORE_IO */
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
 * Puts a file in the place of another at once, with owner and mode, and lasting.
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO, with nothing changed
 */
export async function putContent(path: string, { bytes, state }: FileContent): Promise<void> {
  const mode = Number.parseInt(state.mode, 8);
  await putFile(path, { bytes, mode, check: (temporary) => giveTo(temporary, state) });
  await syncDirectory(dirname(path));
}

/** A copy beside nothing else, with owner and mode of the original. @throws AgentError as putContent */
export async function copyContent(path: string, { bytes, state }: FileContent): Promise<void> {
  await writeNewFile(path, bytes, Number.parseInt(state.mode, 8));
  await giveTo(path, state);
}

/** Lasting; nothing to do where there is no file. */
export async function removeContent(path: string): Promise<void> {
  await unlessMissing(() => attempt('remove', path, () => unlink(path)));
  await syncDirectory(dirname(path));
}

/** Only root may give files away, and has to only where they are another's. */
async function giveTo(path: string, { uid, gid }: FileState): Promise<void> {
  if (uid === process.geteuid?.() && gid === process.getegid?.()) return;
  await attempt('change the owner of', path, () => chown(path, uid, gid));
}
