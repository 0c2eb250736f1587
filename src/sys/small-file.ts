import type { Stats } from 'node:fs';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
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
export async function readDatedFile(path: string, limit: number): Promise<DatedFile> {
  await using file = await openToRead(path);
  const { size, mtimeMs } = checked(await file.stat(), limit);
  using content = new GrowingBuffer(size, limit);
  for (;;) {
    const { buffer, length } = content;
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (content.isComplete(bytesRead)) break;
  }
  return { bytes: content.bytes.slice(), modifiedAt: Math.floor(mtimeMs) };
}

/**
 * Reads a file without waiting for each step, in a buffer that is wiped and used again after
 * `parse` has returned. Takes a fifth of the time, which counts for thousands of files, but blocks
 * the process while the file system does not respond.
 * @throws as `readSmallFile`, and as `parse`
 */
export function parseFileSync<T>(
  path: string,
  limit: number,
  parse: (bytes: Uint8Array<ArrayBuffer>, changedAt: Instant) => T,
): T {
  const file = openToReadSync(path);
  try {
    const { size, ctimeMs } = checked(fstatSync(file), limit);
    using content = new GrowingBuffer(size, limit, scratch);
    for (;;) {
      const { buffer, length } = content;
      if (content.isComplete(readSync(file, buffer, length, buffer.length - length, length))) break;
      // Saves a system call for each file. The size of a file in /proc is 0.
      if (size > 0 && content.length === size) break;
    }
    return parse(content.bytes, Math.floor(ctimeMs));
  } finally {
    closeSync(file);
  }
}

/** Most files fit. A buffer for each of thousands of files is much work for the garbage collector. */
const scratch = new Uint8Array(16 * 1024);

interface DatedFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly modifiedAt: Instant;
}

/** Without O_NONBLOCK, opening a named pipe would wait for its writer. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK;

async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (error) {
    throw openError(error);
  }
}

function openToReadSync(path: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    throw openError(error);
  }
}

/** A socket cannot be opened. */
function openError(error: unknown): unknown {
  return hasErrno(error, 'ENXIO')
    ? new RangeError('is not a regular file', { cause: error })
    : error;
}

function checked(stat: Stats, limit: number): Stats {
  if (!stat.isFile()) throw new RangeError('is not a regular file');
  if (stat.size > limit) throw new RangeError(`has ${stat.size} bytes, more than ${limit}`);
  return stat;
}

/**
 * Collects a file in one buffer and wipes it: `readFile` leaves copies of its chunks in memory.
 * Grows for a file that grows after its size was read, or a file in /proc, whose size is 0, up to
 * the limit.
 */
class GrowingBuffer implements Disposable {
  readonly #limit: number;
  buffer: Uint8Array<ArrayBuffer>;
  length = 0;

  /** @param first used if the file fits */
  constructor(size: number, limit: number, first?: Uint8Array<ArrayBuffer>) {
    this.buffer = first !== undefined && size < first.length ? first : new Uint8Array(size + 1);
    this.#limit = limit;
  }

  /** Takes note of bytes that were read at `length`. True at the end of the file. */
  isComplete(bytesRead: number): boolean {
    this.length += bytesRead;
    if (this.length > this.#limit) throw new RangeError(`has more than ${this.#limit} bytes`);
    if (bytesRead > 0 && this.length === this.buffer.length) this.#enlarge();
    return bytesRead === 0;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.buffer.subarray(0, this.length);
  }

  #enlarge(): void {
    const { buffer } = this;
    this.buffer = new Uint8Array(Math.min(buffer.length * 2 + 4096, this.#limit + 1));
    this.buffer.set(buffer);
    buffer.fill(0);
  }

  [Symbol.dispose](): void {
    this.buffer.fill(0, 0, this.length);
  }
}
