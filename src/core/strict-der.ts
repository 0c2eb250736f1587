import { oidOf } from './certificate-parts.ts';
import type { DerValue } from './der.ts';
import { derTags } from './der.ts';

/** What is wrong with an encoding. The message is a clause such as `a length is not minimal`. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/**
 * The values that follow one another in `bytes`, by the rules of DER (X.690 10 and 11) without
 * exception, so that no other parser can read them in another way.
 * @throws DerError
 */
export function readStrictDer(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length;) {
    const { tag, start, end } = headAt(bytes, at);
    values.push({ tag, content: bytes.subarray(start, end), encoded: bytes.subarray(at, end) });
    at = end;
  }
  return values;
}

interface Head {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

function headAt(bytes: Uint8Array, at: number): Head {
  const tag = bytes[at] ?? 0;
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag has more than one byte');
  const first = bytes[at + 1];
  if (first === undefined) throw new DerError('a value is truncated');
  if (first < 0x80) return within(bytes, { tag, start: at + 2, end: at + 2 + first });
  const count = first - 0x80;
  if (count === 0) throw new DerError('a length is indefinite');
  if (count > longestLength) throw new DerError('a length has too many bytes');
  const start = at + 2 + count;
  if (start > bytes.length) throw new DerError('a value is truncated');
  const digits = bytes.subarray(at + 2, start);
  const length = digits.reduce((sum, digit) => sum * 256 + digit, 0);
  if (digits[0] === 0 || length < 0x80) throw new DerError('a length is not minimal');
  return within(bytes, { tag, start, end: start + length });
}

const longestLength = 4;

function within(bytes: Uint8Array, head: Head): Head {
  if (head.end > bytes.length) throw new DerError('a value is truncated');
  return head;
}

/** The only value in `bytes`. @throws DerError */
export function onlyValue(bytes: Uint8Array): DerValue {
  const [value, extra] = readStrictDer(bytes);
  if (value === undefined) throw new DerError('a value is missing');
  if (extra !== undefined) throw new DerError('data follows a value');
  return value;
}

/** The content of a value with this tag. @throws DerError */
export function contentWithTag(value: DerValue | undefined, tag: number): Uint8Array {
  if (value === undefined) throw new DerError('a field is missing');
  if (value.tag !== tag) {
    throw new DerError(`a field has tag ${hex(value.tag)}, expected ${hex(tag)}`);
  }
  return value.content;
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}

/** The fields of a SEQUENCE. @throws DerError */
export function sequenceFields(value: DerValue | undefined): DerValue[] {
  return readStrictDer(contentWithTag(value, derTags.sequence));
}

/** The elements of a SET OF, which DER sorts by their encodings. @throws DerError */
export function setElements(content: Uint8Array): DerValue[] {
  const elements = readStrictDer(content);
  const isSorted = elements.every(
    ({ encoded }, index) => index === 0 || isSortedPair(elements[index - 1]?.encoded, encoded),
  );
  if (!isSorted) throw new DerError('a SET OF is not sorted');
  return elements;
}

/** X.690 11.6: the shorter encoding counts as if zeros followed it. */
function isSortedPair(left: Uint8Array = new Uint8Array(), right: Uint8Array): boolean {
  const length = Math.max(left.length, right.length);
  for (let at = 0; at < length; at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return true;
}

/** An INTEGER in the shortest form. @throws DerError */
export function integerContent(value: DerValue | undefined): Uint8Array {
  const content = contentWithTag(value, derTags.integer);
  const [first, second = 0] = content;
  if (first === undefined) throw new DerError('an INTEGER is empty');
  const isPadded =
    content.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  if (isPadded) throw new DerError('an INTEGER is not minimal');
  return content;
}

/** A BIT STRING of whole bytes. @throws DerError */
export function bitStringBytes(value: DerValue | undefined): Uint8Array {
  const content = contentWithTag(value, derTags.bitString);
  if (content[0] !== 0) throw new DerError('a BIT STRING has unused bits');
  return content.subarray(1);
}

/** An OBJECT IDENTIFIER as text. @throws DerError */
export function oidText(value: DerValue | undefined): string {
  const content = contentWithTag(value, oidTag);
  const isWhole = content.length > 0 && (content.at(-1) ?? 0x80) < 0x80;
  const startsArc = (index: number): boolean => index === 0 || (content[index - 1] ?? 0) < 0x80;
  if (!isWhole || content.some((byte, index) => byte === 0x80 && startsArc(index))) {
    throw new DerError('an OBJECT IDENTIFIER is malformed');
  }
  return oidOf(content);
}

const oidTag = 0x06;
