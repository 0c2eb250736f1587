import { AgentError } from '../core/errors.ts';

export interface Bounds {
  /** In bytes. */
  readonly limit: number;
  /** The name of the data, for messages. */
  readonly what: string;
}

/** Reads a whole body. @throws AgentError API_BAD_RESPONSE as soon as the body exceeds the limit */
export async function readBody(chunks: AsyncIterable<Uint8Array>, bounds: Bounds): Promise<Buffer> {
  const body = new ByteBuffer(bounds);
  for await (const chunk of chunks) body.add(chunk);
  return body.take();
}

/**
 * Splits a stream into lines without their newline. The bytes after the last newline are a
 * line too, so that a truncated event causes an error and does not get lost.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  bounds: Bounds,
): AsyncGenerator<Buffer, void, void> {
  const line = new ByteBuffer(bounds);
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      yield line.finish(chunk.subarray(start, end));
      start = end + 1;
    }
    line.add(chunk.subarray(start));
  }
  if (line.length > 0) yield line.take();
}

/**
 * The bytes received so far, in one buffer that doubles. If a server sends single bytes, a list
 * of chunks would need a hundred times as much memory as the limit.
 */
export class ByteBuffer {
  readonly #bounds: Bounds;
  #buffer = Buffer.alloc(0);
  length = 0;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  add(chunk: Uint8Array): void {
    const { limit, what } = this.#bounds;
    const length = this.length + chunk.length;
    if (length > limit) throw badResponse(`${what} is longer than ${limit} bytes`);
    if (length > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(length, 2 * this.#buffer.length));
      grown.set(this.#buffer.subarray(0, this.length));
      this.#buffer = grown;
    }
    this.#buffer.set(chunk, this.length);
    this.length = length;
  }

  /** Like `add` and `take`, but does not copy bytes that arrive in one piece, as most lines do. */
  finish(chunk: Uint8Array): Buffer {
    const isWhole = this.length === 0 && chunk.length <= this.#bounds.limit;
    if (isWhole) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.add(chunk);
    return this.take();
  }

  /** Returns the bytes and empties the buffer. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.length);
    this.#buffer = Buffer.alloc(0);
    this.length = 0;
    return taken;
  }
}

const newline = 0x0a;

/** Undefined for a body that is not JSON. */
export function parseIfJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** @throws AgentError API_BAD_RESPONSE, without the text, because it may be any web page */
export function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw badResponse(`the response to ${what} is not JSON (${bytes.length} bytes)`);
  }
}

export function badResponse(message: string, cause?: unknown): AgentError {
  return new AgentError('API_BAD_RESPONSE', message, {
    remedy:
      'Set server in the kubeconfig to the URL of the Kubernetes API server, and check the path of that URL',
    ...(cause !== undefined && { cause }),
  });
}
