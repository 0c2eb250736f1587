import { AgentError } from './errors.ts';

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array<ArrayBuffer>;
}

/**
 * All blocks of a PEM file in the lax form of RFC 7468. Skips blank lines and text between
 * blocks, like Go's encoding/pem. Works on bytes, because a key in a string cannot be wiped.
 * @throws AgentError PAIR_MALFORMED for a block that is truncated or not base64; the message
 * quotes no part of the block
 */
export function parsePem(bytes: Uint8Array): PemBlock[] {
  const blocks: PemBlock[] = [];
  try {
    for (let at = 0; at !== -1;) at = readBlock(bytes, at, blocks);
    return blocks;
  } catch (error) {
    // The caller never receives the blocks before the malformed one, so it cannot wipe a key in
    // them.
    for (const block of blocks) block.der.fill(0);
    throw error;
  }
}

export interface ScannedPem {
  readonly blocks: readonly PemBlock[];
  /** What is wrong with each malformed block, without any part of the block. */
  readonly problems: readonly string[];
}

/**
 * All blocks of a PEM file, for a reader that must see every certificate of a file. Skips a
 * malformed block, like Go's encoding/pem, and reports it.
 */
export function scanPem(bytes: Uint8Array): ScannedPem {
  const blocks: PemBlock[] = [];
  const problems: string[] = [];
  for (let at = 0; at !== -1;) {
    try {
      at = readBlock(bytes, at, blocks);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      problems.push(error.message);
      at = find(bytes, beginMark, at) + 1;
    }
  }
  return { blocks, problems };
}

/** Adds the next block after `at`. Returns the offset of its end, or -1 if there is no block. */
function readBlock(bytes: Uint8Array, at: number, blocks: PemBlock[]): number {
  const begin = find(bytes, beginMark, at);
  if (begin === -1) return -1;
  if (begin > 0 && bytes[begin - 1] !== newline) return begin + 1;
  const labelStart = begin + beginMark.length;
  const labelEnd = find(bytes.subarray(0, labelStart + longestLabel), dashes, labelStart);
  const label = labelEnd === -1 ? '' : text(bytes.subarray(labelStart, labelEnd));
  // Never quote the label: if a dash of this line is missing, the label contains the key.
  if (!/^[A-Z0-9 ]+$/.test(label)) throw malformed('a PEM block has an invalid label');
  const bodyStart = labelEnd + dashes.length;
  const endMark = ascii(`-----END ${label}-----`);
  const end = find(bytes, endMark, bodyStart);
  if (end === -1) throw malformed(`the PEM block ${label} has no END line`);
  const after = end + endMark.length;
  // Go and OpenSSL skip such a block, and would use the next one as the leaf.
  if (!endsLine(bytes, bodyStart) || bytes[end - 1] !== newline || !endsLine(bytes, after)) {
    throw malformed(`the PEM block ${label} begins or ends in the middle of a line`);
  }
  blocks.push({ label, der: decodeBase64(bytes.subarray(bodyStart, end), label) });
  return after;
}

/** True if only blanks follow from `at` to the end of the line. */
function endsLine(bytes: Uint8Array, at: number): boolean {
  let next = at;
  while (isBlank(bytes[next])) next += 1;
  return next >= bytes.length || bytes[next] === newline;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d;
}

/** One PEM block with lines of 64 characters, in a buffer that the caller can wipe. */
export function encodePem(label: string, der: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = ascii(`-----BEGIN ${label}-----\n`);
  const tail = ascii(`-----END ${label}-----\n`);
  const characters = Math.ceil(der.length / 3) * 4;
  const out = new Uint8Array(
    head.length + characters + Math.ceil(characters / lineLength) + tail.length,
  );
  out.set(head);
  out.set(tail, writeBase64(der, out, { start: head.length, lineLength }));
  return out;
}

/** A PEM file of certificates. */
export function encodeCertificates(
  certificates: readonly { readonly der: Uint8Array }[],
): Uint8Array<ArrayBuffer> {
  return concat(certificates.map(({ der }) => encodePem('CERTIFICATE', der)));
}

/** Base64 without line breaks, in a buffer that the caller can wipe. */
export function encodeBase64(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = fixedBytes(Math.ceil(bytes.length / 3) * 4);
  writeBase64(bytes, out, { start: 0, lineLength: Infinity });
  return out;
}

const lineLength = 64;
const longestLabel = 64;
const newline = 0x0a;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const formFeed = 0x0c;
const padding = 0x3d;
const alphabet = ascii('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const notBase64 = 0xff;
/** The value of each base64 character: a table, because an inventory decodes thousands of files. */
const sixBits = new Uint8Array(256).fill(notBase64);
for (const [value, character] of alphabet.entries()) sixBits[character] = value;
const beginMark = ascii('-----BEGIN ');
const dashes = ascii('-----');

/** Writes base64 in lines, each with a line break. Returns the offset of the end. */
function writeBase64(
  der: Uint8Array,
  out: Uint8Array,
  { start, lineLength }: { readonly start: number; readonly lineLength: number },
): number {
  let at = start;
  let column = 0;
  for (let index = 0; index < der.length; index += 3) {
    const left = der.length - index;
    const group = ((der[index] ?? 0) << 16) | ((der[index + 1] ?? 0) << 8) | (der[index + 2] ?? 0);
    out[at] = alphabet[group >> 18] ?? 0;
    out[at + 1] = alphabet[(group >> 12) & 63] ?? 0;
    out[at + 2] = left > 1 ? (alphabet[(group >> 6) & 63] ?? 0) : padding;
    out[at + 3] = left > 2 ? (alphabet[group & 63] ?? 0) : padding;
    at += 4;
    column += 4;
    if (column === lineLength || (lineLength !== Infinity && index + 3 >= der.length)) {
      out[at] = newline;
      at += 1;
      column = 0;
    }
  }
  return at;
}

function decodeBase64(body: Uint8Array, label: string): Uint8Array<ArrayBuffer> {
  const quickly = label.endsWith('CERTIFICATE') ? decodePublic(body) : undefined;
  if (quickly !== undefined) return quickly;
  const der = fixedBytes(decodedLength(body, label));
  let bits = 0;
  let held = 0;
  let length = 0;
  for (const byte of body) {
    const value = sixBits[byte] ?? notBase64;
    // Only blanks and padding are left.
    if (value === notBase64) continue;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      der[length] = (bits >> held) & 0xff;
      length += 1;
    }
  }
  return der;
}

/**
 * In a third of the time, for a block without a secret, because a string cannot be wiped. Undefined
 * for a body that is not strictly base64 with the blanks that `decodedLength` also allows.
 */
function decodePublic(body: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (body.includes(formFeed)) return undefined;
  try {
    const der = Uint8Array.fromBase64(decoder.decode(body), { lastChunkHandling: 'strict' });
    return der.length === 0 ? undefined : der;
  } catch {
    return undefined;
  }
}

/** Checks the whole body first, so that nothing of a malformed key is ever decoded. */
function decodedLength(body: Uint8Array, label: string): number {
  let characters = 0;
  let padded = 0;
  for (const byte of body) {
    if (sixBits[byte] !== notBase64) {
      if (padded > 0) throw malformed(`the PEM block ${label} is not base64`);
      characters += 1;
    } else if (byte === padding) padded += 1;
    else if (byte !== newline && !isBlank(byte)) {
      throw malformed(`the PEM block ${label} is not base64`);
    }
  }
  // Four characters have three bytes. A single leftover character has none.
  const left = characters % 4;
  if (characters === 0 || left === 1 || padded !== (4 - left) % 4) {
    throw malformed(`the PEM block ${label} is truncated`);
  }
  return Math.floor((characters * 3) / 4);
}

/**
 * The garbage collector never moves an array with its own ArrayBuffer. It moves other arrays of
 * up to 64 bytes and leaves a copy of the key behind.
 */
function fixedBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

function find(bytes: Uint8Array, mark: Uint8Array, from: number): number {
  for (
    let at = bytes.indexOf(mark[0] ?? 0, from);
    at !== -1;
    at = bytes.indexOf(mark[0] ?? 0, at + 1)
  ) {
    if (mark.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

function ascii(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}

function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function malformed(message: string): AgentError {
  return new AgentError('PAIR_MALFORMED', message);
}

/** Joins the parts in an array that the caller can wipe. Buffer.concat may use pooled memory. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
