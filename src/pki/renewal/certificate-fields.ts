import { createHash, randomBytes } from 'node:crypto';
import type { CertificateParts } from '../../core/certificate-parts.ts';
import { publicKeyBits, subjectKeyIdentifier } from '../../core/certificate-parts.ts';

/** RFC 5280 4.2.1.2, method 1. */
export function keyIdentifier(parts: Pick<CertificateParts, 'publicKey'>): Uint8Array {
  return createHash('sha1').update(publicKeyBits(parts)).digest();
}

/** The key identifier as it is in the certificate of the CA, for the certificates that it issues. */
export function authorityIdentifier(authority: CertificateParts): Uint8Array {
  return subjectKeyIdentifier(authority) ?? keyIdentifier(authority);
}

/** 128 bits. The zero before them keeps the number positive. */
export function newSerial(): Uint8Array {
  const random = randomBytes(16);
  random[0] = (random[0] ?? 0) | 0x80;
  return Uint8Array.from([0, ...random]);
}
