import { readdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError, hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { attempt } from '../sys/file-error.ts';
import { syncDirectory, writeNewFile } from './atomic-file.ts';
import { localTimestamp } from './pair-names.ts';

const copiesKept = 3;

/** More copies than the agent can write within one second. */
const maxNames = 100;

/**
 * Copies the content of a file that is about to be replaced into a new file beside it, such as
 * `kubelet.conf.nodecertd-2026-11-28-19-05-00`. The name does not end in `.conf`, so programs
 * that read a directory of `*.conf` files ignore it.
 * @returns the path of the copy
 * @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO
 */
export async function keepCopy(path: string, bytes: Uint8Array, now: Instant): Promise<string> {
  const copy = await writeCopy(`${path}.nodecertd-${localTimestamp(now)}`, bytes);
  await removeOldCopies(path);
  await syncDirectory(dirname(path));
  return copy;
}

async function writeCopy(base: string, bytes: Uint8Array): Promise<string> {
  for (let count = 0; count < maxNames; count += 1) {
    const path = count === 0 ? base : `${base}-${count}`;
    try {
      await writeNewFile(path, bytes, 0o600);
      return path;
    } catch (error) {
      if (!(error instanceof AgentError) || !hasErrno(error.cause, 'EEXIST')) throw error;
    }
  }
  throw new AgentError('STORE_IO', `cannot create the copy ${base}: all names for it exist`);
}

async function removeOldCopies(path: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.nodecertd-`;
  const names = await attempt('list', directory, () => readdir(directory));
  const copies = names
    .filter((name) => name.startsWith(prefix) && copyPattern.test(name.slice(prefix.length)))
    .sort()
    .toReversed();
  for (const name of copies.slice(copiesKept)) {
    const copy = join(directory, name);
    await attempt('remove', copy, () => unlink(copy));
  }
}

const copyPattern = /^\d{4}(?:-\d{2}){5}(?:-\d+)?$/;
