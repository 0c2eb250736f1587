import { hash, X509Certificate } from 'node:crypto';
import { readDer } from '../../core/der.ts';
import type { Instant } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import type { InventoryCertificate } from './certificate.ts';

/** Reads any certificate that OpenSSL can read. Undefined for other bytes. */
export function openSslCertificate(bytes: Uint8Array): InventoryCertificate | undefined {
  try {
    const x509 = new X509Certificate(bytes);
    // `raw` is a copy, and takes as long as the rest.
    const der = isSingleValue(bytes) ? bytes : x509.raw;
    return {
      der,
      sha256: hash('sha256', der, 'hex'),
      serial: x509.serialNumber.toLowerCase().replace(/^(-?)0+(?=.)/, '$1'),
      subject: nameOf(x509.subject),
      issuer: nameOf(x509.issuer),
      ...validityOf(x509),
      isAuthority: x509.ca,
    };
  } catch {
    return undefined;
  }
}

/** False if trust settings or other bytes follow the certificate. */
function isSingleValue(bytes: Uint8Array): boolean {
  try {
    return readDer(bytes).length === 1;
  } catch {
    return false;
  }
}

/** @throws RangeError if OpenSSL cannot read a time */
function validityOf(x509: X509Certificate): { notBefore: Instant; notAfter: Instant } {
  const [notBefore, notAfter] = [x509.validFromDate.getTime(), x509.validToDate.getTime()];
  if (Number.isNaN(notBefore + notAfter)) throw new RangeError('the validity cannot be read');
  return { notBefore, notAfter };
}

/** OpenSSL writes each relative name on its own line, and the first one first. */
function nameOf(name: string | undefined): string {
  const relative = (name ?? '').split('\n').toReversed().join(',');
  return printable(relative, 1000);
}
