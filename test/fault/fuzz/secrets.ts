import { encodePem } from '../../../src/core/pem.ts';
import type { Corpus } from './corpus.ts';

/** Shorter ones may stand in a message by the kind of chance that a fuzzer is. */
export const pieceLength = 24;

/**
 * What must appear in no message: the token, and any longer piece of a key's
 * encoding, in whatever way it came into the input. Pieces at every eighth place: a leak of
 * eight characters more holds one whole.
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
  // The first bytes of a key are the same in every key.
  for (let at = 48; at + pieceLength <= text.length; at += 8) {
    found.push(text.slice(at, at + pieceLength));
  }
  return found;
}
