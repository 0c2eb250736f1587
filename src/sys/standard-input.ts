/**
 * Reads standard input to its end, into a buffer that the caller can wipe.
 * @throws RangeError above the limit; its message follows "standard input" in a sentence
 */
export async function readStandardInput(limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(new ArrayBuffer(limit));
  let length = 0;
  try {
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
      if (length + chunk.length > limit) throw new RangeError(`has more than ${limit} bytes`);
      buffer.set(chunk, length);
      length += chunk.length;
      chunk.fill(0);
    }
    return buffer.slice(0, length);
  } finally {
    buffer.fill(0);
  }
}
