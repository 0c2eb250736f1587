import { hash, X509Certificate } from 'node:crypto';
import type { CertificateParts } from '../core/certificate-parts.ts';
import { readParts, subjectKeyIdentifier } from '../core/certificate-parts.ts';
import { isSameBytes } from '../core/der.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { scanPem } from '../core/pem.ts';
import type { TrustAuthority } from '../core/trust.ts';
import { nameOf } from './server-certificate.ts';

/**
 * The CAs of a file that is in use. Programs trust every certificate in it, so nothing is checked.
 * Leaves out malformed blocks and certificates that OpenSSL cannot parse.
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
 * A certificate as a CA of a trust bundle. Accepts what OpenSSL accepts, because programs may use it.
 * @throws AgentError CERT_MALFORMED
 */
export function readAuthority(der: Uint8Array<ArrayBuffer>): TrustAuthority {
  const parts = readParts(der);
  try {
    const certificate = new X509Certificate(der);
    const { subject, validFromDate, validToDate } = certificate;
    const keyId = subjectKeyIdentifier(parts);
    return {
      der,
      fingerprint: hash('sha256', der, 'hex'),
      pin: `sha256:${hash('sha256', parts.publicKey, 'hex')}`,
      subject: nameOf(subject ?? ''),
      subjectName: parts.subject.slice(),
      ...(keyId !== undefined && { subjectKeyId: keyId.toHex() }),
      isSelfSigned: isSelfSigned(certificate, parts),
      notBefore: instantOf(validFromDate),
      notAfter: instantOf(validToDate),
    };
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate cannot be parsed', { cause: error });
  }
}

/** OpenSSL reads the times only when it needs them. */
function instantOf(date: Date): Instant {
  if (Number.isNaN(date.getTime())) throw new Error('a time of the certificate is malformed');
  return date.getTime();
}

/** Two CAs of one name certify each other in a bridge, so the names alone do not show it. */
function isSelfSigned(
  certificate: X509Certificate,
  { issuer, subject }: CertificateParts,
): boolean {
  return isSameBytes(issuer, subject) && isSignedBy(certificate, certificate);
}

/**
 * True if the key of the CA signed the certificate. Does not compare names, because a new CA often
 * has the name of the old CA. False for a key that OpenSSL does not support.
 */
export function isSignedBy(
  certificate: X509Certificate,
  issuer: X509Certificate | Pick<TrustAuthority, 'der'>,
): boolean {
  try {
    const { publicKey } = 'der' in issuer ? new X509Certificate(issuer.der) : issuer;
    return certificate.verify(publicKey);
  } catch {
    return false;
  }
}
