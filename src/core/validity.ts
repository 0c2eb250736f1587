import type { DerValue } from './der.ts';
import { contentOf, derTags, readDer } from './der.ts';
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
  const [toBeSigned] = readDer(contentOf(readDer(certificate)[0]));
  const fields = readDer(contentOf(toBeSigned));
  // Certificates of version 1 have no version field.
  const validity = fields[fields[0]?.tag === versionTag ? 4 : 3];
  const [notBefore, notAfter] = readDer(contentOf(validity));
  return { notBefore: momentOf(notBefore), notAfter: momentOf(notAfter) };
}

const versionTag = 0xa0;

const timePattern = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

function momentOf(value: DerValue | undefined): Instant {
  const digits = String.fromCharCode(...contentOf(value).subarray(0, 20));
  const text = value?.tag === derTags.utcTime ? `${digits < '5' ? '20' : '19'}${digits}` : digits;
  const known = value?.tag === derTags.utcTime || value?.tag === derTags.generalizedTime;
  const iso = known ? text.replace(timePattern, '$1-$2-$3T$4:$5:$6.000Z') : '';
  const moment = new Date(iso);
  // Date converts a nonexistent day to another day.
  if (Number.isNaN(moment.getTime()) || moment.toISOString() !== iso) {
    throw new Error(`a time in the certificate is invalid: ${JSON.stringify(printable(digits))}`);
  }
  return moment.getTime();
}
