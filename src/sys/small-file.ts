import { constants, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { AgentError, hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { Secret } from '../core/secret.ts';
import { storeError } from './file-error.ts';

/** A leaf with a dozen intermediates and an RSA key has 30 kB, and a kubeconfig has a few. */
const defaultLimit = 1024 * 1024;

/** A small file whose content may be a key. */
export interface BoundedFile extends Disposable {
  /** The only copy of the content. Disposing the file wipes it. */
  readonly content: Secret;
  readonly modifiedAt: Instant;
}

/**
 * Reads a file that must not be empty.
 * @throws AgentError PAIR_MALFORMED if the file is empty, above 1 MiB, or not a regular file;
 * STORE_PERMISSIONS, STORE_IO if it cannot be read
 */
export async function readBoundedFile(path: string): Promise<BoundedFile> {
  try {
    const { bytes, modifiedAt } = await readDatedFile(path, defaultLimit);
    if (bytes.length === 0) throw new RangeError('is empty');
    const content = new Secret(bytes);
    return { content, modifiedAt, [Symbol.dispose]: () => content.wipe() };
  } catch (error) {
    if (error instanceof RangeError)
      throw new AgentError('PAIR_MALFORMED', `${path} ${error.message}`);
    throw storeError('read', path, error);
  }
}

/**
 * Reads a file, which may be empty, into a buffer that the caller can wipe.
 * @throws RangeError if the file has more than `limit` bytes or is not a regular file; its
 * message follows the path in a sentence. Errors of node:fs otherwise.
 */
export async function readSmallFile(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  return (await readDatedFile(path, limit)).bytes;
}

/** Like `readSmallFile`, with the time of the last change. */
export async function readDatedFile(
  path: string,
  limit: number,
): Promise<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly modifiedAt: Instant }> {
  await using file = await openToRead(path);
  const stat = await file.stat();
  if (!stat.isFile()) throw new RangeError('is not a regular file');
  if (stat.size > limit) throw new RangeError(`has ${stat.size} bytes, more than ${limit}`);
  const bytes = await readAll(file, { size: stat.size, limit });
  return { bytes, modifiedAt: Math.floor(stat.mtimeMs) };
}

/** Without O_NONBLOCK, opening a named pipe would wait for its writer. */
async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    // A socket cannot be opened.
    if (hasErrno(error, 'ENXIO')) throw new RangeError('is not a regular file', { cause: error });
    throw error;
  }
}

/**
 * Reads into one buffer and wipes it: `readFile` leaves copies of its chunks in memory. Reads a
 * file that grows after its size was read, or a file in /proc, whose size is 0, to the end, up
 * to the limit.
 */
async function readAll(
  file: FileHandle,
  { size, limit }: { readonly size: number; readonly limit: number },
): Promise<Uint8Array<ArrayBuffer>> {
  let buffer = new Uint8Array(size + 1);
  let length = 0;
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (length > limit) throw new RangeError(`has more than ${limit} bytes`);
      if (bytesRead === 0) return buffer.slice(0, length);
      if (length === buffer.length) buffer = enlarged(buffer, limit);
    }
  } finally {
    buffer.fill(0);
  }
}

function enlarged(buffer: Uint8Array<ArrayBuffer>, limit: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(buffer.length * 2 + 4096, limit + 1));
  larger.set(buffer);
  buffer.fill(0);
  return larger;
}
