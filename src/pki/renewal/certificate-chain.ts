import type { KeyObject } from 'node:crypto';
import { X509Certificate } from 'node:crypto';
import type { CertificateFacts } from '../../core/certificate.ts';
import type { CertificateParts } from '../../core/certificate-parts.ts';
import { basicConstraints, readParts } from '../../core/certificate-parts.ts';
import { isSameBytes } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';
import { parsePem } from '../../core/pem.ts';
import { printable } from '../../core/printable.ts';
import { parseCertificate } from '../../core/x509.ts';
import { isSameKey } from '../../sys/public-key.ts';

/** A certificate as OpenSSL, @peculiar/x509 and our own reader see it. */
export interface ChainCertificate {
  readonly der: Uint8Array<ArrayBuffer>;
  readonly facts: CertificateFacts;
  readonly parts: CertificateParts;
  readonly openssl: X509Certificate;
  readonly isCa: boolean;
}

/** @throws AgentError CERT_MALFORMED */
export async function readCertificate(der: Uint8Array<ArrayBuffer>): Promise<ChainCertificate> {
  const { facts } = await parseCertificate(der);
  const parts = readParts(der);
  try {
    const openssl = new X509Certificate(Buffer.from(der));
    return { der, facts, parts, openssl, isCa: basicConstraints(parts).isCa };
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate cannot be parsed', { cause: error });
  }
}

/**
 * The certificates of a PEM file in its order. The name of the file is part of each error.
 * @throws AgentError PAIR_MALFORMED, CERT_MALFORMED
 */
export async function readCertificatesOf(
  path: string,
  pem: Uint8Array,
): Promise<ChainCertificate[]> {
  try {
    return await readCertificates(pem);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    // Without the cause, whose text is about the interface of a library.
    throw new AgentError(error.code, `${path}: ${error.message}`, {
      remedy: `Restore ${path} from a backup`,
    });
  }
}

/** @throws AgentError PAIR_MALFORMED, CERT_MALFORMED */
export async function readCertificates(pem: Uint8Array): Promise<ChainCertificate[]> {
  const blocks = parsePem(pem);
  const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
  const read = await Promise.all(certificates.map(({ der }) => readCertificate(der.slice())));
  // The file may also contain the key.
  for (const { der } of blocks) der.fill(0);
  return read;
}

/** True if the key of `issuer` signed the certificate. A new CA often has the name of the old one. */
export function isIssuedBy(certificate: ChainCertificate, issuer: ChainCertificate): boolean {
  if (!isSameBytes(certificate.parts.issuer, issuer.parts.subject)) return false;
  const key = publicKeyOf(issuer);
  return key !== undefined && certificate.openssl.verify(key);
}

/** Undefined if OpenSSL does not know this kind of key, or the key is malformed. */
export function publicKeyOf({ openssl }: ChainCertificate): KeyObject | undefined {
  try {
    return openssl.publicKey;
  } catch {
    return undefined;
  }
}

/** Compares CAs, because the old and the new CA of a rollover may have one name. */
export function haveSameKey(a: ChainCertificate, b: ChainCertificate): boolean {
  const [first, second] = [publicKeyOf(a), publicKeyOf(b)];
  return first !== undefined && second !== undefined && isSameKey(first, second);
}

/** True if the list has exactly this certificate. */
export function isIn(list: readonly ChainCertificate[], { der }: ChainCertificate): boolean {
  return list.some((other) => isSameBytes(other.der, der));
}

interface InDer {
  readonly der: Uint8Array;
}

/** True for the same certificates in the same order. */
export function isSameList(found: readonly InDer[] | undefined, wanted: readonly InDer[]): boolean {
  return (
    found?.length === wanted.length &&
    found.every(({ der }, at) => isSameBytes(der, wanted[at]?.der ?? new Uint8Array()))
  );
}

/** `O=system:masters, CN=admin` */
export function subjectOf({ openssl }: ChainCertificate): string {
  return nameText(openssl.subject);
}

export function issuerOf({ openssl }: ChainCertificate): string {
  return nameText(openssl.issuer);
}

/** OpenSSL writes each part of a name on its own line, and nothing for an empty name. */
function nameText(lines: string | undefined): string {
  return printable((lines ?? '').replaceAll('\n', ', ')) || '(empty name)';
}

export function isSelfIssued({ parts }: ChainCertificate): boolean {
  return isSameBytes(parts.issuer, parts.subject);
}

/**
 * The certificates with which a server proves its leaf, in the order of the chain: the issuer of
 * the leaf, the issuer of that one, and so on. Ends at a self-signed certificate.
 */
export function chainAbove(
  leaf: ChainCertificate,
  candidates: readonly ChainCertificate[],
): ChainCertificate[] {
  const chain: ChainCertificate[] = [];
  for (let below = leaf; !(below !== leaf && isSelfIssued(below));) {
    const issuer = candidates.find(
      (candidate) =>
        candidate !== below && !chain.includes(candidate) && isIssuedBy(below, candidate),
    );
    if (issuer === undefined) break;
    chain.push(issuer);
    below = issuer;
  }
  return chain;
}
