import type { IncomingMessage } from 'node:http';
import { mergePatch } from './merge-patch.ts';
import { decodeProtobuf, protobufMediaType } from './protobuf.ts';
import { StatusError } from './status-error.ts';

/** Reads an object from a body; undefined when it is empty. @throws StatusError for one that is too large, of another type, or malformed */
export async function readObject(request: IncomingMessage, limit: number): Promise<unknown> {
  const type = mediaType(request);
  if (type === protobufMediaType) return decodeProtobuf(await readBytes(request, limit));
  if (type !== 'application/json' && type !== '') throw unsupported(type, 'application/json');
  const bytes = await readBytes(request, limit);
  return bytes.length === 0 ? undefined : parseJson(bytes);
}

const mergePatchType = 'application/merge-patch+json';

/** Reads a merge patch and applies it to the current object. @throws StatusError as readObject() */
export async function readPatched(
  request: IncomingMessage,
  limit: number,
  current: () => unknown,
): Promise<unknown> {
  const type = mediaType(request);
  if (type !== mergePatchType) throw unsupported(type, mergePatchType);
  const patch = parseJson(await readBytes(request, limit));
  return mergePatch(current(), patch);
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop must not destroy the request, whose socket the refusal goes out on.
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

function unsupported(found: string, wanted: string): StatusError {
  return new StatusError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format: found ${found || 'none'}, accepted is ${wanted}`,
  );
}
