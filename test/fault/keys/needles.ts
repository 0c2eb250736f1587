import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';

/** Bytes that nobody else has any business to hold or to write. */
export interface Needle {
  readonly bytes: Buffer;
  /** Of which key; any name that tells keys apart. */
  readonly key: string;
  /** `d as hex`, for the report. */
  readonly form: string;
}

/**
 * Everything by which a private key could be recognized, in pieces of ten bytes and
 * more: whoever finds a piece has found a copy. Pieces and not the whole, since malloc
 * writes its own links over the first 16 bytes of what is freed, lines of PEM break
 * a text, and a buffer may have been overwritten in part.
 */
export function needlesOf(name: string, key: KeyObject): Needle[] {
  return [...secretsOf(key)].flatMap(([secret, value]) =>
    [...formsOf(value)].flatMap(([form, bytes]) =>
      pieces(bytes).map((piece) => ({ bytes: piece, key: name, form: `${secret} as ${form}` })),
    ),
  );
}

/** The private numbers, big endian: d of an elliptic curve; d, p, q and what follows from them of RSA; the seed of Ed25519. */
export function secretsOf(key: KeyObject): Map<string, Buffer> {
  const jwk = key.export({ format: 'jwk' });
  const secrets = new Map<string, Buffer>();
  for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
    const value = jwk[name];
    if (typeof value === 'string') secrets.set(name, Buffer.from(value, 'base64url'));
  }
  const { d } = jwk;
  if (jwk.crv === 'Ed25519' && d !== undefined) secrets.set('expanded seed', expanded(d));
  return secrets;
}

/** RFC 8032 5.1.5: what is signed with is made from the seed, and is as good as the seed. */
function expanded(seed: string): Buffer {
  return createHash('sha512').update(Buffer.from(seed, 'base64url')).digest();
}

function formsOf(value: Buffer): Map<string, Buffer> {
  const hex = value.toString('hex');
  const texts = new Map([
    ['hex', hex],
    ['HEX', hex.toUpperCase()],
    ['hex with blanks', spaced(hex, ' ')],
    ['hex with colons', spaced(hex, ':')],
    ['decimal', BigInt(`0x${hex}`).toString()],
    ['list of bytes', [...value].join(',')],
    ...base64Forms(value),
  ]);
  const forms = new Map([
    ['big endian', value],
    // Limbs of OpenSSL's BIGNUM, and the digits of a BigInt: both little endian on what Node runs on here.
    ['little endian', Buffer.from(value.toReversed())],
  ]);
  for (const [form, text] of texts) {
    forms.set(form, Buffer.from(text, 'latin1'));
    // Strings of V8 that once met a character beyond Latin-1.
    forms.set(`${form} in UTF-16`, Buffer.from(text, 'utf16le'));
  }
  return forms;
}

function spaced(hex: string, separator: string): string {
  return (hex.match(/../g) ?? []).join(separator);
}

/** Within something larger (PKCS #8, PEM) the bytes begin at any of three places of a group. */
function* base64Forms(value: Buffer): Iterable<readonly [string, string]> {
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), value]).toString('base64');
    // Characters at both ends depend on what stands beside the value.
    const inner = text.slice(shift === 0 ? 0 : shift + 1, -4);
    yield [`base64 at ${shift}`, inner];
    const url = inner.replaceAll('+', '-').replaceAll('/', '_');
    if (url !== inner) yield [`base64url at ${shift}`, url];
  }
}

/** The first, the last and two between; of something short, its halves. */
function pieces(bytes: Buffer): Buffer[] {
  const size = bytes.length < 40 ? Math.floor(bytes.length / 2) : 20;
  const last = bytes.length - size;
  const starts = new Set([0, Math.floor(last / 3), Math.floor((2 * last) / 3), last]);
  return [...starts].map((start) => bytes.subarray(start, start + size));
}
