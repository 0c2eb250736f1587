import type { KeyObject } from 'node:crypto';
import { createHash, createPrivateKey } from 'node:crypto';
import { encodePem, parsePem } from '../../../src/core/pem.ts';

/** Bytes that only the enroller may hold or write. */
export interface Needle {
  readonly bytes: Buffer;
  /** A name of the key. */
  readonly key: string;
  /** The encoding for the report, such as `d as hex`. */
  readonly form: string;
}

/**
 * Returns the needles of a private key in every encoding, in pieces of at least ten
 * bytes. A piece is enough to find a copy. Pieces are needed because malloc overwrites
 * the first 16 bytes of freed memory, PEM splits a text into lines, and a buffer may be
 * partly overwritten.
 */
export function needlesOf(name: string, key: KeyObject): Needle[] {
  return [...secretsOf(key)].flatMap(([secret, value]) =>
    [...formsOf(value)].flatMap(([form, bytes]) =>
      pieces(bytes).map((piece) => ({ bytes: piece, key: name, form: `${secret} as ${form}` })),
    ),
  );
}

/** Returns the needles of the secret part of a bootstrap token, as a whole. Its id is public. */
export function tokenNeedlesOf(token: string): Needle[] {
  const secret = Buffer.from(token.slice(token.indexOf('.') + 1));
  return [...formsOf(secret)].map(([form, bytes]) => ({ bytes, key: token, form }));
}

/**
 * The private numbers, big endian: d of an elliptic curve; d, p, q and their
 * derivatives of RSA; the seed of Ed25519.
 */
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

/** RFC 8032 5.1.5: the signing scalar is derived from the seed and equally secret. */
function expanded(seed: string): Buffer {
  return createHash('sha512').update(Buffer.from(seed, 'base64url')).digest();
}

/**
 * Returns the needles of a private key in PEM that a kubeconfig embeds: base64 of the PEM, which is
 * base64 itself.
 */
export function embeddedNeedlesOf(name: string, pem: string): Needle[] {
  const [block] = parsePem(Buffer.from(pem));
  if (block === undefined) throw new Error('there is no PEM block');
  const masked = Buffer.from(block.der);
  for (const secret of secretsOf(createPrivateKey(pem)).values()) {
    const at = masked.indexOf(secret);
    if (at !== -1) masked.fill(0, at, at + secret.length);
  }
  const text = Buffer.from(pem).toString('base64');
  const [start, end] = differenceOf(text, base64Of(encodePem(block.label, masked)));
  return pieces(Buffer.from(text.slice(start, end))).map((bytes) => ({
    bytes,
    key: name,
    form: embeddedForm,
  }));
}

const embeddedForm = 'PEM as base64';

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** Where two texts of the same length begin to differ, and where that ends. */
function differenceOf(left: string, right: string): readonly [number, number] {
  const differences = [...left.matchAll(/./g)].flatMap(({ index }) =>
    left[index] === right[index] ? [] : [index],
  );
  return [differences[0] ?? 0, (differences.at(-1) ?? 0) + 1];
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
    // The limbs of OpenSSL's BIGNUM and the digits of a BigInt, both little endian
    // here.
    ['little endian', Buffer.from(value.toReversed())],
  ]);
  for (const [form, text] of texts) {
    forms.set(form, Buffer.from(text, 'latin1'));
    // V8 stores strings with a character beyond Latin-1 as UTF-16.
    forms.set(`${form} in UTF-16`, Buffer.from(text, 'utf16le'));
  }
  return forms;
}

function spaced(hex: string, separator: string): string {
  return (hex.match(/../g) ?? []).join(separator);
}

/** Inside PKCS #8 or PEM, the bytes start at any of three positions of a base64 group. */
function* base64Forms(value: Buffer): Iterable<readonly [string, string]> {
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), value]).toString('base64');
    // The characters at both ends depend on the neighboring bytes.
    const inner = text.slice(shift === 0 ? 0 : shift + 1, -4);
    yield [`base64 at ${shift}`, inner];
    const url = inner.replaceAll('+', '-').replaceAll('/', '_');
    if (url !== inner) yield [`base64url at ${shift}`, url];
  }
}

/** The first piece, the last piece and two between, or the halves of a short value. */
function pieces(bytes: Buffer): Buffer[] {
  const size = bytes.length < 40 ? Math.floor(bytes.length / 2) : 20;
  const last = bytes.length - size;
  const starts = new Set([0, Math.floor(last / 3), Math.floor((2 * last) / 3), last]);
  return [...starts].map((start) => bytes.subarray(start, start + size));
}
