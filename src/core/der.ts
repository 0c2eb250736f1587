/** One value in DER (X.690), without its meaning. */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  /** With tag and length. */
  readonly encoded: Uint8Array;
}

export const derTags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/**
 * The values that follow one another in `bytes`, for example in the content of a SEQUENCE. The
 * results are views of `bytes`.
 * @throws Error if a length exceeds the bytes, or has the indefinite form of BER
 */
export function readDer(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length;) {
    const { start, end } = extentAt(bytes, at);
    values.push({
      tag: bytes[at] ?? 0,
      content: bytes.subarray(start, end),
      encoded: bytes.subarray(at, end),
    });
    at = end;
  }
  return values;
}

/** The content of a field. @throws Error if the field is missing */
export function contentOf(value: DerValue | undefined): Uint8Array {
  if (value === undefined) throw new Error('a field of the certificate is missing');
  return value.content;
}

function extentAt(bytes: Uint8Array, at: number): { readonly start: number; readonly end: number } {
  const first = bytes[at + 1] ?? 0;
  // In the long form, the first byte is the number of length bytes after it. Zero is the
  // indefinite form of BER, which DER forbids.
  const count = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + count;
  const length = count === 0 ? first : bytes.subarray(at + 2, start).reduce(bigEndian, 0);
  if (first === 0x80 || start + length > bytes.length)
    throw new Error('a length in the certificate is wrong');
  return { start, end: start + length };
}

function bigEndian(sum: number, byte: number): number {
  return sum * 256 + byte;
}

/** A value whose content is these parts, one after the other. */
export function writeDer(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = [tag, ...lengthBytes(length)];
  const whole = new Uint8Array(head.length + length);
  whole.set(head);
  let at = head.length;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return [0x80 + digits.length, ...digits];
}

export function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
