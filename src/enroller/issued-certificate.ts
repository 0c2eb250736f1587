import { X509Certificate } from 'node:crypto';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import { issuedVerdict } from '../core/identity.ts';
import type { Instant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import type { Certificate } from '../core/x509.ts';
import { isSignedBy, parseCertificate } from '../core/x509.ts';

/** What the signer put into status.certificate: the leaf, and intermediates if there are any. */
export interface IssuedChain {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  /** Certificates only, in order, freshly encoded. */
  readonly pem: Uint8Array<ArrayBuffer>;
}

/**
 * Takes an issued certificate apart and holds it against the request. Nothing that
 * fails here may reach the directory: the old pair is better than a wrong new one.
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
    // Signers issue nothing that has expired: a clock that is ahead finds it so.
    remedy: early || verdict.code === 'CERT_EXPIRED' ? compareClocks : askSigner,
    ...(early && { retryAfterMs: Math.max(leaf.facts.notBefore - now, 0) }),
  });
}

const compareClocks = 'compare the clocks of this node and of the signer';
const askSigner = 'ask whoever runs the signer what it does to requests';

async function parseChain(pem: Uint8Array): Promise<IssuedChain> {
  const certificates: Certificate[] = [];
  for (const { label, der } of blocksOf(pem)) {
    if (label !== 'CERTIFICATE') throw malformed(`has a ${label} block`);
    certificates.push(await parseBlock(der));
  }
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) throw malformed('holds no certificate');
  for (const [index, issuer] of intermediates.entries()) {
    if (!(await isSignedBy(certificates[index] ?? leaf, issuer))) {
      throw malformed('holds certificates that are no chain');
    }
  }
  const encoded = certificates.map(({ der }) => encodePem('CERTIFICATE', der));
  return { leaf, intermediates, pem: new Uint8Array(Buffer.concat(encoded)) };
}

/** By two parsers: what OpenSSL cannot read, half of those who dial or serve cannot use. */
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
    throw malformed('is no PEM', error);
  }
}

function malformed(what: string, cause?: unknown): AgentError {
  return new AgentError('CERT_MALFORMED', `the issued certificate ${what}`, {
    cause,
    remedy: askSigner,
  });
}
