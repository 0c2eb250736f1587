import { AgentError } from '../core/errors.ts';
import { storeError } from '../sys/file-error.ts';
import { readSmallFile } from '../sys/small-file.ts';

/** A larger file is not a manifest or a configuration. */
const largest = 1024 * 1024;

/**
 * The text of a manifest or a configuration.
 * @throws AgentError CONFIG_UNREADABLE, STORE_PERMISSIONS, STORE_IO
 */
export async function readText(path: string): Promise<string> {
  try {
    const bytes = await readSmallFile(path, largest);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw unreadable(path, error.message, error);
    if (error instanceof TypeError) throw unreadable(path, 'is not a text file', error);
    throw storeError('read', path, error);
  }
}

function unreadable(path: string, why: string, cause: unknown): AgentError {
  return new AgentError('CONFIG_UNREADABLE', `${path} ${why}`, { cause });
}
