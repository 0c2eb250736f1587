import { readFile, stat } from 'node:fs/promises';
import { AgentError, hasErrno } from '../core/errors.ts';

/** How errors name the file, and the largest size that makes sense for it. */
export interface TextKind {
  /** As in `the configuration`. */
  readonly what: string;
  /** The flag or key that names the file. */
  readonly option: string;
  readonly maxMiB: number;
}

const configuration: TextKind = { what: 'the configuration', option: '--config', maxMiB: 1 };

/** @throws AgentError CONFIG_UNREADABLE, or CONFIG_INVALID if the file is not UTF-8 */
export async function readText(file: string, kind = configuration): Promise<string> {
  const bytes = await readBytes(file, kind);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new AgentError('CONFIG_INVALID', `${file} is not UTF-8 text`, {
      cause: error,
      remedy: 'Save the file as UTF-8',
    });
  }
}

async function readBytes(file: string, { what, option, maxMiB }: TextKind): Promise<Uint8Array> {
  const unreadable = (reason: string, remedy: string, cause?: unknown): AgentError =>
    new AgentError('CONFIG_UNREADABLE', `${what} ${file} ${reason}`, { cause, remedy });
  try {
    // Checked before opening, because opening a named pipe waits for a writer.
    const found = await stat(file);
    if (!found.isFile()) {
      throw unreadable('is not a regular file', `Set ${option} to the path of a YAML file`);
    }
    if (found.size > maxMiB * 1024 * 1024) {
      throw unreadable(
        `has ${found.size} bytes, more than ${maxMiB} MiB`,
        `Check that ${option} names the right file`,
      );
    }
    return await readFile(file);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) {
      throw unreadable('does not exist', `Create the file, or set ${option} to its path`, error);
    }
    throw unreadable(
      'cannot be read',
      'Check the permissions of the file and its directories',
      error,
    );
  }
}
