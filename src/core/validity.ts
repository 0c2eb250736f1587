import type { Instant } from './instant.ts';
import { printable } from './printable.ts';

/**
 * From when until when a certificate is valid, read as strictly as Go reads it
 * (encoding/asn1 takes a time only when it is the one way to write it). The library
 * finds a date in almost anything, a year 1899 among them: a certificate that its
 * readers refuse would be stored, and its rotation planned by a date it does not have.
 * @throws Error when the bytes are no certificate in DER, or its times not those of RFC 5280 4.1.2.5
 */
export function readValidity(certificate: Uint8Array): {
  readonly notBefore: Instant;
  readonly notAfter: Instant;
} {
  const [toBeSigned] = valuesIn(contentOf(valuesIn(certificate)[0]));
  const fields = valuesIn(contentOf(toBeSigned));
  // The version is left out of certificates of version 1.
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
  if (value === undefined) throw new Error('a part of the certificate is missing');
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
  // The long form counts the bytes of the length that follow; none would mean BER's open end.
  const count = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + count;
  const length = count === 0 ? first : bytes.subarray(at + 2, start).reduce(bigEndian, 0);
  if (first === 0x80 || start + length > bytes.length) throw new Error('a length is wrong');
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
  // A day that is not in the calendar comes back as another one.
  if (Number.isNaN(moment.getTime()) || moment.toISOString() !== iso) {
    throw new Error(`a time is ${JSON.stringify(printable(digits))}`);
  }
  return moment.getTime();
}
