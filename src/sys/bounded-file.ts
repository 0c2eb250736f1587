import { constants, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { AgentError, hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { Secret } from '../core/secret.ts';
import { storeError } from './file-error.ts';

/** A leaf with a dozen intermediates and an RSA key has 30 kB. */
const largestFile = 1024 * 1024;

export interface BoundedFile extends Disposable {
  /** The one copy of the content; disposing the file wipes it. */
  readonly content: Secret;
  readonly modifiedAt: Instant;
}

/**
 * Reads a file that may hold a key into one buffer of its own, so that it can be
 * wiped: `readFile` collects chunks that nobody can get at afterwards.
 * @throws AgentError PAIR_MALFORMED for what is no regular file, empty or above 1 MiB;
 * STORE_PERMISSIONS, STORE_IO when it cannot be read
 */
export async function readBoundedFile(path: string): Promise<BoundedFile> {
  try {
    // Without O_NONBLOCK a named pipe in the place of the file would hold us for ever.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await file.stat();
    if (!stat.isFile()) throw unusable(path, 'is not a regular file');
    if (stat.size > largestFile) throw unusable(path, `has ${stat.size} bytes, more than 1 MiB`);
    const content = new Secret(await readAll(file, stat.size));
    if (content.expose().length === 0) throw unusable(path, 'is empty');
    return {
      content,
      modifiedAt: Math.floor(stat.mtimeMs),
      [Symbol.dispose]: () => content.wipe(),
    };
  } catch (error) {
    // A socket cannot even be opened.
    if (hasErrno(error, 'ENXIO')) throw unusable(path, 'is not a regular file');
    throw storeError('read', path, error);
  }
}

/** To the end of the file even if it grew since its size was asked for, up to the limit. */
async function readAll(file: FileHandle, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(size + 1);
  let length = 0;
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.slice(0, length);
    }
  } finally {
    buffer.fill(0);
  }
}

function unusable(path: string, what: string): AgentError {
  return new AgentError('PAIR_MALFORMED', `${path} ${what}`);
}
