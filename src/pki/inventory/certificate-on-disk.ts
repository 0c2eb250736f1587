import type { Instant } from '../../core/instant.ts';
import { readCertificateFile } from './certificate-file.ts';
import type { InventoryCertificate } from './certificate.ts';

/**
 * The only certificate of a file, without its DER, which takes more memory than everything else that
 * a scan keeps of a file. Reads the file again when a CA has to verify the certificate.
 */
export class CertificateOnDisk implements InventoryCertificate {
  readonly #path: string;
  readonly sha256: string;
  readonly serial: string;
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  readonly isAuthority: boolean;

  constructor(path: string, certificate: InventoryCertificate) {
    this.#path = path;
    this.sha256 = certificate.sha256;
    this.serial = certificate.serial;
    this.subject = certificate.subject;
    this.issuer = certificate.issuer;
    this.notBefore = certificate.notBefore;
    this.notAfter = certificate.notAfter;
    this.isAuthority = certificate.isAuthority;
  }

  /** @throws CertificateReplaced */
  get der(): Uint8Array {
    const reading = readCertificateFile(this.#path);
    const found = reading.kind === 'read' ? reading.certificates : [];
    const same = found.find(({ sha256 }) => sha256 === this.sha256);
    if (same === undefined) throw new CertificateReplaced(`${this.#path} was replaced`);
    return same.der;
  }
}

/** The file no longer contains the certificate that the scan found in it. */
export class CertificateReplaced extends Error {}
