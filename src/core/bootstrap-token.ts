import { printable } from './printable.ts';
import { Secret } from './secret.ts';

/** A bootstrap token, such as `abcdef.0123456789abcdef`. */
export interface BootstrapToken extends Disposable {
  /** The part before the dot, which is public: the name of its Secret and of its signature. */
  readonly id: string;
  /** The whole token, without white space around it. Disposal wipes it. */
  readonly text: Secret;
}

/**
 * Undefined for any other text. The pattern is that of bootstrapapi.BootstrapTokenPattern
 * (k8s.io/cluster-bootstrap/token/api). Works on bytes, because a token in a string cannot be wiped.
 */
export function parseBootstrapToken(bytes: Uint8Array): BootstrapToken | undefined {
  const start = bytes.findIndex((byte) => !isSpace(byte));
  const end = bytes.findLastIndex((byte) => !isSpace(byte)) + 1;
  const token = new Uint8Array(bytes.subarray(Math.max(start, 0), end));
  const isToken = token.length === tokenLength && token.every(isExpected);
  if (!isToken) {
    token.fill(0);
    return undefined;
  }
  const text = new Secret(token);
  const id = String.fromCharCode(...token.subarray(0, idLength));
  return { id, text, [Symbol.dispose]: () => text.wipe() };
}

/** The part after the dot, with which the cluster signs cluster-info. A view of the token, not a copy. */
export function secretOf({ text }: Pick<BootstrapToken, 'text'>): Uint8Array<ArrayBuffer> {
  return text.expose().subarray(idLength + 1);
}

/**
 * Like printable(), for text that an administrator typed: replaces whatever looks like a bootstrap
 * token, also one with a few characters too many or too few, or without a space beside it.
 */
export function withoutTokens(text: string, longest = 200): string {
  return printable(text.replace(/[a-z0-9]{5,}(?:\.[a-z0-9]{14,})+/gi, '…'), longest);
}

const idLength = 6;
const tokenLength = idLength + 1 + 16;
const dot = 0x2e;

function isExpected(byte: number, index: number): boolean {
  if (index === idLength) return byte === dot;
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x7a);
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
