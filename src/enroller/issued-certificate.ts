import { X509Certificate } from 'node:crypto';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import { issuedVerdict } from '../core/identity.ts';
import type { Instant } from '../core/instant.ts';
import { encodeCertificates, parsePem } from '../core/pem.ts';
import type { Certificate } from '../core/x509.ts';
import { isSignedBy, parseCertificate } from '../core/x509.ts';

/** The content of status.certificate: the leaf and any intermediates. */
export interface IssuedChain {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  /** Certificates only, in order, freshly encoded. */
  readonly pem: Uint8Array<ArrayBuffer>;
}

/**
 * Parses an issued certificate and compares it with the request. nodecertd does not store a
 * certificate that fails here, because the previous certificate is better than a wrong one.
 * @param publicKey SubjectPublicKeyInfo in DER of the key that was certified
 * @throws AgentError CERT_*
 */
export async function checkIssued(options: {
  readonly pem: Uint8Array;
  readonly template: CertificateTemplate;
  readonly publicKey: Uint8Array;
  readonly now: Instant;
}): Promise<IssuedChain> {
  const { pem, template, publicKey, now } = options;
  const chain = await parseChain(pem);
  const { leaf } = chain;
  if (!Buffer.from(leaf.publicKey).equals(publicKey)) {
    throw new AgentError('CERT_KEY_MISMATCH', 'the issued certificate is for another key', {
      remedy: askSigner,
    });
  }
  const verdict = issuedVerdict(template, leaf.facts, now);
  if (verdict.ok) return chain;
  const early = verdict.code === 'CERT_NOT_YET_VALID';
  throw new AgentError(verdict.code, verdict.message, {
    // Signers do not issue expired certificates, so the clock of this node is ahead.
    remedy: early || verdict.code === 'CERT_EXPIRED' ? compareClocks : askSigner,
    ...(early && { retryAfterMs: Math.max(leaf.facts.notBefore - now, 0) }),
  });
}

const compareClocks = 'Compare the clocks of this node and of the signer: timedatectl';
const askSigner = 'Ask the administrator of the signer why the certificate differs from the CSR';

async function parseChain(pem: Uint8Array): Promise<IssuedChain> {
  const certificates: Certificate[] = [];
  for (const { label, der } of blocksOf(pem)) {
    if (label !== 'CERTIFICATE') throw malformed(`contains a ${label} block`);
    certificates.push(await parseBlock(der));
  }
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) throw malformed('contains no certificate');
  for (const [index, issuer] of intermediates.entries()) {
    if (!(await isSignedBy(certificates[index] ?? leaf, issuer))) {
      throw malformed('contains certificates that do not form a chain');
    }
  }
  return { leaf, intermediates, pem: encodeCertificates(certificates) };
}

/** Parses with OpenSSL too, because many clients and servers cannot use a certificate that OpenSSL rejects. */
async function parseBlock(der: Uint8Array<ArrayBuffer>): Promise<Certificate> {
  try {
    requireReadable(der);
    return await parseCertificate(der);
  } catch (error) {
    throw malformed('cannot be parsed', error);
  }
}

function requireReadable(der: Uint8Array): X509Certificate {
  return new X509Certificate(der);
}

function blocksOf(pem: Uint8Array): ReturnType<typeof parsePem> {
  try {
    return parsePem(pem);
  } catch (error) {
    throw malformed('is not PEM', error);
  }
}

function malformed(what: string, cause?: unknown): AgentError {
  return new AgentError('CERT_MALFORMED', `the issued certificate ${what}`, {
    cause,
    remedy: askSigner,
  });
}
