import { encodePem } from '../../../src/core/pem.ts';
import type { Corpus } from './corpus.ts';

/** Random inputs contain shorter pieces by coincidence. */
export const pieceLength = 24;

/**
 * The texts that no message may contain: the token, and pieces of a key's encoding. The
 * pieces start at every eighth character, so a leak that is eight characters longer
 * contains one of them.
 */
export function secretsOf({ keys, pairs, token }: Corpus): ReadonlySet<string> {
  const texts = [
    ...keys.map(({ label, der }) => Buffer.from(encodePem(label, der))),
    ...pairs.map((pem) => Buffer.from(pem).subarray(Buffer.from(pem).lastIndexOf('-----BEGIN'))),
  ];
  const pieces = texts.flatMap((pem) => {
    const body = pem.toString().replace(/-----[^-]+-----|\n/g, '');
    return [body, pem.toString('base64'), Buffer.from(body, 'base64').toString('hex')];
  });
  const tokens = [token, Buffer.from(token).toString('base64')].map((text) =>
    text.slice(0, pieceLength),
  );
  return new Set([...tokens, ...pieces.flatMap(windows)]);
}

function windows(text: string): string[] {
  const found: string[] = [];
  // The first bytes are the same in every key.
  for (let at = 48; at + pieceLength <= text.length; at += 8) {
    found.push(text.slice(at, at + pieceLength));
  }
  return found;
}
