import type { IncomingMessage } from 'node:http';
import { StatusError } from './status-error.ts';

/**
 * Reads an object from a body, or undefined from an empty one.
 * @throws StatusError for a body that is too large, of another type, or malformed
 */
export async function readObject(request: IncomingMessage, limit: number): Promise<unknown> {
  const type = mediaType(request);
  if (type !== 'application/json' && type !== '') throw unsupported(type);
  const bytes = await readBytes(request, limit);
  return bytes.length === 0 ? undefined : parseJson(bytes);
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // The end of the loop must not destroy the request, because its socket carries the
  // response.
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body) {
    length += chunk.length;
    if (length > limit) {
      throw new StatusError('RequestEntityTooLarge', `the body is larger than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new StatusError('BadRequest', 'the body is not JSON');
  }
}

function unsupported(found: string): StatusError {
  return new StatusError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format: found ${found}, accepted is application/json`,
  );
}
