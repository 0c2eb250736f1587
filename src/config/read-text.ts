import { readFile, stat } from 'node:fs/promises';
import { AgentError, hasErrno } from '../core/errors.ts';

/** A larger file is not a configuration. */
const maxBytes = 1024 * 1024;

/** @throws AgentError CONFIG_UNREADABLE, or CONFIG_INVALID if the file is not UTF-8 */
export async function readText(file: string): Promise<string> {
  const bytes = await readBytes(file);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new AgentError('CONFIG_INVALID', `${file} is not UTF-8 text`, {
      cause: error,
      remedy: 'Save the file as UTF-8',
    });
  }
}

async function readBytes(file: string): Promise<Uint8Array> {
  const unreadable = (reason: string, remedy: string, cause?: unknown): AgentError =>
    new AgentError('CONFIG_UNREADABLE', `the configuration ${file} ${reason}`, { cause, remedy });
  try {
    // Checked before opening, because opening a named pipe waits for a writer.
    const found = await stat(file);
    if (!found.isFile()) {
      throw unreadable('is not a regular file', 'Set --config to the path of a YAML file');
    }
    if (found.size > maxBytes) {
      throw unreadable(
        `has ${found.size} bytes, more than 1 MiB`,
        'Check that --config names the right file',
      );
    }
    return await readFile(file);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) {
      throw unreadable('does not exist', 'Create the file, or set --config to its path', error);
    }
    throw unreadable(
      'cannot be read',
      'Check the permissions of the file and its directories',
      error,
    );
  }
}
