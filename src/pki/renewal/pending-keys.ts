import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import { removeStraysFor, replaceFile } from '../../store/atomic-file.ts';
import { removeContent } from '../../store/file-content.ts';
import { makePrivateDirectory } from '../../store/run-folder.ts';
import { exportKey, readKeyFile } from './key-file.ts';

/**
 * The file of a private key whose certificate an external CA has not issued yet. It has to outlive
 * this process, because a person may need days to get the CSR signed.
 * @param directory the folder of all runs
 */
export function pendingKeyFile(directory: string, name: string): string {
  return join(folderOf(directory), `${name}.key`);
}

function folderOf(directory: string): string {
  return join(directory, 'pending');
}

/** Undefined if there is none. @throws AgentError PAIR_MALFORMED, KEY_UNSUPPORTED, STORE_* */
export async function readPendingKey(
  directory: string,
  name: string,
): Promise<KeyObject | undefined> {
  const file = pendingKeyFile(directory, name);
  try {
    return await readKeyFile(file);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code.startsWith('STORE_')) throw error;
    throw new AgentError(error.code, `the pending key cannot be used: ${error.message}`, {
      cause: error,
      remedy: `Delete it, and create a new CSR: rm ${file}; nodecertd certs renew ${name} --csr-out DIR`,
    });
  }
}

/**
 * Creates the folder, and deletes what an interrupted write left, because it contains a key. The
 * caller holds the lock of `directory`.
 * @throws AgentError STORE_*
 */
export async function preparePendingKeys(directory: string): Promise<void> {
  const folder = folderOf(directory);
  await makePrivateDirectory(folder);
  await removeStraysFor(folder, (file) => file.endsWith('.key'));
}

/** @throws AgentError STORE_* */
export async function storePendingKey(
  directory: string,
  name: string,
  key: KeyObject,
): Promise<void> {
  using pem = exportKey(key);
  await replaceFile(pendingKeyFile(directory, name), pem.expose(), 0o600);
}

/** @throws AgentError STORE_* */
export async function removePendingKey(directory: string, name: string): Promise<void> {
  await removeContent(pendingKeyFile(directory, name));
}
