import { hash, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { sortedUnique } from '../../core/alt-names.ts';
import type { Usage } from '../../core/certificate.ts';
import { usages as knownUsages } from '../../core/certificate.ts';
import { extensionIds, extensionOf, readParts } from '../../core/certificate-parts.ts';
import { contentOf, readDer } from '../../core/der.ts';
import type { Instant } from '../../core/instant.ts';
import { canonicalIp } from '../../core/ip-address.ts';
import { printable } from '../../core/printable.ts';
import { openSslCertificate } from './openssl-certificate.ts';
import { usualCertificate } from './usual-certificate.ts';

/**
 * A certificate as an inventory shows it. Read with node:crypto instead of core/x509.ts: an
 * inventory must also show a certificate that the agent would reject, and OpenSSL parses ten
 * times faster.
 */
export interface InventoryCertificate {
  /**
   * Kept instead of the X509Certificate, which takes ten times the memory. A CertificateOnDisk reads
   * it from its file.
   */
  readonly der: Uint8Array;
  /** SHA-256 of the DER, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Lower-case hexadecimal without leading zeros, with `-` before a negative number. */
  readonly serial: string;
  /** RFC 4514, as in `CN=kubernetes-admin,O=system:masters`; empty for an empty name. */
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  readonly isAuthority: boolean;
}

/** Undefined for bytes that are not a certificate. Keeps the bytes. */
export function inventoryCertificate(bytes: Uint8Array): InventoryCertificate | undefined {
  const usual = usualCertificate(bytes);
  if (usual === undefined) return openSslCertificate(bytes);
  return { der: bytes, sha256: hash('sha256', bytes, 'hex'), ...usual, isAuthority: false };
}

export function x509Of({ der }: InventoryCertificate): X509Certificate {
  return new X509Certificate(der);
}

export interface PublicKeyFacts {
  /** `RSA`, `ECDSA`, `Ed25519`, or the name that OpenSSL uses. */
  readonly algorithm: string;
  readonly bits: number;
}

/** Undefined for a key that OpenSSL does not know. */
export function publicKeyFacts(certificate: InventoryCertificate): PublicKeyFacts | undefined {
  const key = publicKeyOf(certificate);
  const type = key?.asymmetricKeyType;
  if (key === undefined || type === undefined) return undefined;
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  const known = { rsa: 'RSA', ec: 'ECDSA', ed25519: 'Ed25519', ed448: 'Ed448' } as const;
  const algorithm = Object.hasOwn(known, type) ? known[type as keyof typeof known] : type;
  return { algorithm, bits: modulusLength ?? bitsOf(namedCurve ?? type) };
}

function bitsOf(curve: string): number {
  const [, digits] = /(\d+)/.exec(curve === 'ed25519' ? '256' : curve) ?? [];
  return Number(digits ?? 0);
}

/** The keys of CAs, each of which may have signed thousands of certificates. */
const authorityKeys = new WeakMap<InventoryCertificate, KeyObject | undefined>();

function authorityKey(authority: InventoryCertificate): KeyObject | undefined {
  if (!authorityKeys.has(authority)) authorityKeys.set(authority, publicKeyOf(authority));
  return authorityKeys.get(authority);
}

function publicKeyOf(certificate: InventoryCertificate): KeyObject | undefined {
  try {
    return x509Of(certificate).publicKey;
  } catch {
    return undefined;
  }
}

/** The SANs as `DNS:…`, `IP:…`, `URI:…` and so on, sorted; IP addresses in canonical form. */
export function altNames(certificate: InventoryCertificate): string[] {
  const text = x509Of(certificate).subjectAltName ?? '';
  const names = text.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g);
  return sortedUnique(
    [...names].map(([, type = '', value = '']) => {
      const name = printable(value.replace(/^"|"$/g, ''), 300);
      return type === 'IP Address' ? `IP:${canonicalIp(name) ?? name}` : `${type}:${name}`;
    }),
  );
}

const extendedKeyUsages: Readonly<Record<string, string>> = {
  '2.5.29.37.0': 'any',
  '1.3.6.1.5.5.7.3.1': 'server auth',
  '1.3.6.1.5.5.7.3.2': 'client auth',
};

/** Key usages and extended key usages; an unknown extended usage by its OID. */
export function usages(certificate: InventoryCertificate): string[] {
  const extended = x509Of(certificate).keyUsage ?? [];
  return [...keyUsagesIn(certificate.der), ...extended.map((oid) => extendedKeyUsages[oid] ?? oid)];
}

/** In the order of the bits (RFC 5280 4.2.1.3). Empty without the extension, and for malformed DER. */
function keyUsagesIn(der: Uint8Array): Usage[] {
  try {
    const extension = extensionOf(readParts(der), extensionIds.keyUsage);
    if (extension === undefined) return [];
    // The first byte of a BIT STRING is the number of unused bits at its end.
    const bits = contentOf(readDer(extension.value)[0]).subarray(1);
    return keyUsages.filter((_, at) => ((bits[at >> 3] ?? 0) & (0x80 >> (at & 7))) !== 0);
  } catch {
    return [];
  }
}

/** These begin the list of usages, in the order of their bits. */
const keyUsages = knownUsages.slice(0, knownUsages.indexOf('decipher only') + 1);

/**
 * True if the key of `authority` signed the certificate. Compares keys, because the old and the
 * new CA of a cluster usually have the same name.
 * @throws CertificateReplaced
 */
export function isIssuedBy(
  certificate: InventoryCertificate,
  authority: InventoryCertificate,
): boolean {
  if (certificate.issuer !== authority.subject) return false;
  const key = authorityKey(authority);
  const { der } = certificate;
  try {
    return key !== undefined && new X509Certificate(der).verify(key);
  } catch {
    return false;
  }
}
