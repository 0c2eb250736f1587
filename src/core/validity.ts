import type { Instant } from './instant.ts';
import { printable } from './printable.ts';

/**
 * The validity of a certificate, read as strictly as Go does (encoding/asn1 accepts only the
 * canonical form of a time). @peculiar/x509 reads a date from almost any text, so the agent would
 * store a certificate that Go programs reject, and would schedule the rotation by a wrong date.
 * node:crypto could read the dates, but core imports no node modules.
 * @throws Error if the bytes are not a certificate in DER, or a time is not in the form of RFC
 * 5280 4.1.2.5
 */
export function readValidity(certificate: Uint8Array): {
  readonly notBefore: Instant;
  readonly notAfter: Instant;
} {
  const [toBeSigned] = valuesIn(contentOf(valuesIn(certificate)[0]));
  const fields = valuesIn(contentOf(toBeSigned));
  // Certificates of version 1 have no version field.
  const validity = fields[fields[0]?.tag === versionTag ? 4 : 3];
  const [notBefore, notAfter] = valuesIn(contentOf(validity));
  return { notBefore: momentOf(notBefore), notAfter: momentOf(notAfter) };
}

interface Value {
  readonly tag: number;
  readonly content: Uint8Array;
}

const versionTag = 0xa0;
const utcTime = 0x17;
const generalizedTime = 0x18;

function contentOf(value: Value | undefined): Uint8Array {
  if (value === undefined) throw new Error('a field of the certificate is missing');
  return value.content;
}

function valuesIn(bytes: Uint8Array): Value[] {
  const values: Value[] = [];
  for (let at = 0; at < bytes.length;) {
    const { start, end } = extentAt(bytes, at);
    values.push({ tag: bytes[at] ?? 0, content: bytes.subarray(start, end) });
    at = end;
  }
  return values;
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

const timePattern = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

function momentOf(value: Value | undefined): Instant {
  const digits = String.fromCharCode(...contentOf(value).subarray(0, 20));
  const text = value?.tag === utcTime ? `${digits < '5' ? '20' : '19'}${digits}` : digits;
  const known = value?.tag === utcTime || value?.tag === generalizedTime;
  const iso = known ? text.replace(timePattern, '$1-$2-$3T$4:$5:$6.000Z') : '';
  const moment = new Date(iso);
  // Date converts a nonexistent day to another day.
  if (Number.isNaN(moment.getTime()) || moment.toISOString() !== iso) {
    throw new Error(`a time in the certificate is invalid: ${JSON.stringify(printable(digits))}`);
  }
  return moment.getTime();
}
