import { AgentError } from '../core/errors.ts';
import { readContent } from './file-content.ts';
import type { BackedUpChange } from './run-folder.ts';
import type { FileChange } from './run-manifest.ts';

/** Another program may have replaced a file while the new content was made. @throws AgentError FILE_CHANGED */
export async function requireUnchanged(changes: readonly BackedUpChange[]): Promise<void> {
  for (const { path, before } of changes) {
    if ((await digestAt(path)) === before?.state.sha256) continue;
    throw new AgentError('FILE_CHANGED', `another program changed ${path} during this run`, {
      remedy: 'Run this command again',
    });
  }
}

/** Reads the files again after they were replaced or removed. @throws AgentError STORE_IO */
export async function requireWritten(changes: readonly BackedUpChange[]): Promise<void> {
  for (const { path, after } of changes) {
    if ((await digestAt(path)) === after?.state.sha256) continue;
    const message =
      after === undefined
        ? `${path} exists again after nodecertd has removed it`
        : `${path} does not contain the bytes that nodecertd has written`;
    throw new AgentError('STORE_IO', message);
  }
}

/** True if all changes were made. */
export async function isInPlace(changes: readonly FileChange[]): Promise<boolean> {
  for (const { path, after } of changes) {
    if ((await digestAt(path)) !== after?.sha256) return false;
  }
  return true;
}

async function digestAt(path: string): Promise<string | undefined> {
  const found = await readContent(path);
  found?.bytes.fill(0);
  return found?.state.sha256;
}
