import { hash, X509Certificate } from 'node:crypto';
import type { CertificateParts } from '../../core/certificate-parts.ts';
import { readParts, subjectKeyIdentifier } from '../../core/certificate-parts.ts';
import { isSameBytes, readDer } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';
import { scanPem } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { readValidity } from '../../core/validity.ts';
import { nameOf } from '../../kube/server-certificate.ts';

/**
 * The CAs of a file that is in use. Programs trust every certificate in it, so nothing is checked.
 * Malformed blocks and unreadable certificates are left out, as Go leaves them out.
 */
export function readAuthorities(pem: Uint8Array): {
  readonly authorities: TrustAuthority[];
  /** What is wrong with each block that was left out. */
  readonly problems: readonly string[];
} {
  const { blocks, problems } = scanPem(pem);
  const read = blocks
    .filter(({ label }) => label === 'CERTIFICATE')
    .map(({ der }) => authorityOrProblem(der));
  return {
    authorities: read.filter((one) => typeof one !== 'string'),
    problems: [...problems, ...read.filter((one) => typeof one === 'string')],
  };
}

function authorityOrProblem(der: Uint8Array<ArrayBuffer>): TrustAuthority | string {
  try {
    return readAuthority(der);
  } catch (error) {
    if (error instanceof AgentError) return error.message;
    throw error;
  }
}

/**
 * A certificate as a CA of a trust bundle. Reads it as strictly as Go does, because a kubelet uses
 * no CA of a clientCAFile with one certificate that Go rejects.
 * @throws AgentError CERT_MALFORMED
 */
export function readAuthority(der: Uint8Array<ArrayBuffer>): TrustAuthority {
  const parts = readParts(der);
  try {
    // OpenSSL ignores bytes after the certificate.
    if (readDer(der).length !== 1) throw new Error('bytes follow the certificate');
    // Go 1.23 rejects negative serial numbers.
    if ((parts.serial[0] ?? 0) >= 0x80) throw new Error('its serial number is negative');
    const certificate = new X509Certificate(der);
    const keyId = subjectKeyIdentifier(parts);
    return {
      der,
      fingerprint: hash('sha256', der, 'hex'),
      pin: `sha256:${hash('sha256', parts.publicKey, 'hex')}`,
      subject: nameOf(certificate.subject ?? ''),
      subjectName: parts.subject.slice(),
      ...(keyId !== undefined && { subjectKeyId: keyId.toHex() }),
      isSelfSigned: isSelfSigned(certificate, parts),
      ...readValidity(der),
    };
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate cannot be parsed', { cause: error });
  }
}

/** Two CAs of one name certify each other in a bridge, so the names alone do not show it. */
function isSelfSigned(
  certificate: X509Certificate,
  { issuer, subject }: CertificateParts,
): boolean {
  return isSameBytes(issuer, subject) && isVerifiedBy(certificate, certificate);
}

/** True if the key of the CA signed the certificate. Names never count: a new CA often has the name of the old one. */
export function isSignedBy(
  certificate: X509Certificate,
  { der }: Pick<TrustAuthority, 'der'>,
): boolean {
  return isVerifiedBy(certificate, new X509Certificate(der));
}

/** False for a key that OpenSSL does not support. */
function isVerifiedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
