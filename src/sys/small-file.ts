import { constants, open } from 'node:fs/promises';

/**
 * Reads a file that should be small, in one buffer that the caller can wipe;
 * readFile would leave copies of its chunks behind.
 * @throws RangeError when the file is longer than `limit` bytes, or no regular file;
 *   errors of node:fs otherwise
 */
export async function readSmallFile(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  // Without O_NONBLOCK a named pipe in the place of the file would hold us for ever.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if (!(await file.stat()).isFile()) throw new RangeError('not a regular file');
  const buffer = new Uint8Array(limit + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (bytesRead === 0 || length === buffer.length) break;
  }
  try {
    if (length > limit) throw new RangeError(`longer than ${limit} bytes`);
    return buffer.slice(0, length);
  } finally {
    buffer.fill(0, 0, length);
  }
}
