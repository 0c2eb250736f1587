import { X509Certificate } from 'node:crypto';
import type { CertificateFacts } from '../../../src/core/certificate.ts';
import { canonicalAltNames } from '../../../src/core/alt-names.ts';
import { requireThat } from './target.ts';

/** Compares the facts of a certificate with OpenSSL's. Returns false if OpenSSL cannot parse it. */
export function requireAgreement(der: Uint8Array, facts: CertificateFacts): boolean {
  const theirs = readByOpenssl(der);
  if (theirs === undefined) return false;
  // RFC 5280 4.1.2.2 forbids negative serial numbers, and the library drops the sign.
  if (!theirs.serialNumber.startsWith('-'))
    same('serial', facts.serial, theirs.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''));
  same('notBefore', facts.notBefore, theirs.validFromDate.getTime());
  same('notAfter', facts.notAfter, theirs.validToDate.getTime());
  const subject = theirs.toLegacyObject().subject as { CN?: unknown; O?: unknown } | undefined;
  const { commonName, organizations } = facts.subject;
  // Values that are not text are hexadecimal here, and omitted there.
  if (![commonName, ...organizations].some((name) => /^[0-9a-f]{4,}$/.test(name))) {
    same('CN', commonName, [subject?.CN ?? ''].flat().at(-1));
    same('O', organizations, [subject?.O ?? []].flat());
  }
  const names = altNamesOf(theirs.subjectAltName);
  if (names !== undefined) {
    same('SANs', [facts.dnsNames, facts.ipAddresses], [names.dnsNames, names.ipAddresses]);
  }
  return true;
}

function readByOpenssl(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/**
 * `DNS:a, IP Address:10.0.0.1`. Undefined for quoted names and without names, because
 * OpenSSL returns undefined for an invalid name, too.
 */
function altNamesOf(text: string | undefined): ReturnType<typeof canonicalAltNames> | undefined {
  if (text === undefined || text.includes('"')) return undefined;
  const names = text.split(', ');
  const of = (kind: string): string[] =>
    names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));
  return canonicalAltNames({ dnsNames: of('DNS:'), ipAddresses: of('IP Address:') });
}

function same(what: string, ours: unknown, theirs: unknown): void {
  const [left, right] = [JSON.stringify(ours), JSON.stringify(theirs)];
  requireThat(left === right, () => `${what} is ${left}, and for OpenSSL ${right}`);
}
