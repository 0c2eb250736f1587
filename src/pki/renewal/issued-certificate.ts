import type { KeyObject } from 'node:crypto';
import { createHash, createPublicKey } from 'node:crypto';
import { parse } from 'node:path';
import { keyPurposes } from '../../core/certificate-parts.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import type { AuthorityFile } from './authority.ts';
import { pathLengthFault, signingFault } from './authority.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { isIssuedBy, issuerOf, publicKeyOf, subjectOf } from './certificate-chain.ts';
import { differencesBetween } from './certificate-difference.ts';

/** A certificate of an external CA, and what it is compared with. */
export interface IssuedRequest {
  /** The certificates of the file, in any order. */
  readonly certificates: readonly ChainCertificate[];
  readonly file: string;
  /** The pending key. */
  readonly key: KeyObject;
  readonly existing: ChainCertificate;
  readonly authority: AuthorityFile;
  readonly now: Instant;
}

export interface IssuedChain {
  readonly certificate: ChainCertificate;
  /** The intermediate CAs, without those in the CA file. */
  readonly chain: readonly ChainCertificate[];
  /** The CA on this machine. */
  readonly anchor: ChainCertificate;
}

/**
 * Accepts a certificate only if it can replace the existing one.
 * @throws AgentError CERT_* with what differs
 */
export function checkIssued(request: IssuedRequest): IssuedChain {
  const certificate = leafFor(request);
  requireValid(certificate, request);
  requireSameContent(certificate, request);
  const path = pathTo(certificate, request);
  requireUsable(certificate, path, request);
  return { certificate, ...path };
}

function leafFor({ certificates, file, key }: IssuedRequest): ChainCertificate {
  const leaf = certificates.find(({ openssl }) => openssl.checkPrivateKey(key));
  if (leaf !== undefined) return leaf;
  const others = certificates.filter(({ isCa }) => !isCa);
  const found = (others.length === 0 ? certificates : others).map((one) => {
    const publicKey = publicKeyOf(one);
    return publicKey === undefined ? 'malformed' : `SHA-256 ${fingerprint(publicKey)}`;
  });
  throw new AgentError(
    'CERT_KEY_MISMATCH',
    `${file} is for another key: its public key is ${found.join(' or ')}, and that of the CSR is SHA-256 ${fingerprint(createPublicKey(key))}`,
    {
      remedy: `Have the CA sign the latest CSR, or create it again: nodecertd certs renew ${parse(file).name} --csr-out DIR`,
    },
  );
}

/** The first half of the digest of the SubjectPublicKeyInfo, enough to tell two keys apart. */
function fingerprint(key: KeyObject): string {
  const der = key.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(der).digest('hex').slice(0, 32);
}

function requireValid({ facts }: ChainCertificate, { file, now }: IssuedRequest): void {
  const clock = `the clock says ${formatInstant(now)}`;
  if (now >= facts.notAfter) {
    const message = `${file} expired at ${formatInstant(facts.notAfter)}, and ${clock}`;
    throw new AgentError('CERT_EXPIRED', message, {
      remedy: 'Have the CA sign the CSR again, or correct the clock: timedatectl',
    });
  }
  if (now < facts.notBefore) {
    const message = `${file} is valid from ${formatInstant(facts.notBefore)}, and ${clock}`;
    throw new AgentError('CERT_NOT_YET_VALID', message, {
      remedy: 'Correct the clock (timedatectl), or import the certificate later',
    });
  }
}

function requireSameContent(
  certificate: ChainCertificate,
  { file, existing }: IssuedRequest,
): void {
  const differences = differencesBetween(certificate, existing);
  const [first] = differences;
  if (first === undefined) return;
  const texts = differences.map(({ text }) => text).join('; ');
  throw new AgentError(first.code, `${file} differs from the existing certificate: ${texts}`, {
    remedy:
      'Have the CA sign the CSR with the subject, SANs and usages that it requests, as with openssl x509 -req -copy_extensions copy',
  });
}

/** CAs are compared by key, because the previous and the new CA usually have the same name. */
function pathTo(
  leaf: ChainCertificate,
  request: IssuedRequest,
): Pick<IssuedChain, 'chain' | 'anchor'> {
  const { certificates, authority, now } = request;
  const chain: ChainCertificate[] = [];
  for (let below = leaf; ;) {
    const anchors = authority.certificates.filter((ca) => isIssuedBy(below, ca));
    const anchor = anchors.find((ca) => isValidAt(ca, now)) ?? anchors[0];
    if (anchor !== undefined) return { chain, anchor };
    const next = certificates.find(
      (ca) => ca !== leaf && !chain.includes(ca) && isIssuedBy(below, ca),
    );
    if (next === undefined) throw incomplete(below, request);
    chain.push(next);
    below = next;
  }
}

function incomplete(
  below: ChainCertificate,
  { file, authority, certificates }: IssuedRequest,
): AgentError {
  const issuer = issuerOf(below);
  const isNamesake = [...authority.certificates, ...certificates].some(
    (ca) => ca.isCa && subjectOf(ca) === issuer,
  );
  const found = authority.certificates.map(subjectOf).join('; ') || 'no certificate';
  const trusted = `the CA on this node is ${authority.path} (${found})`;
  const message = isNamesake
    ? `${file}: ${subjectOf(below)} was signed by another CA with the name ${issuer}, and ${trusted}`
    : `${file}: ${subjectOf(below)} was signed by ${issuer}, whose certificate is not in the file, and ${trusted}`;
  const remedy = isNamesake
    ? `Have the CA whose certificate is ${authority.path} sign the CSR`
    : `Add the intermediate CA ${issuer} to ${file}, or have the CA of ${authority.path} sign the CSR`;
  return new AgentError('CERT_UNTRUSTED', message, { remedy });
}

function requireUsable(
  certificate: ChainCertificate,
  { chain, anchor }: Pick<IssuedChain, 'chain' | 'anchor'>,
  { file, authority, now }: IssuedRequest,
): void {
  const authorities = [...chain, anchor];
  const faults = authorities.flatMap((ca) => {
    const fault = signingFault(ca) ?? validityFault(ca, now) ?? purposeFault(ca, certificate);
    const place = ca === anchor ? authority.path : file;
    return fault === undefined ? [] : [`the CA ${subjectOf(ca)} in ${place} ${fault}`];
  });
  const fault = faults[0] ?? pathLengthFault(authorities, file);
  if (certificate.isCa || fault !== undefined) {
    throw new AgentError('CERT_UNTRUSTED', fault ?? `${file} is a CA certificate`, {
      remedy: 'Have the CA correct its chain, and import the certificate with it',
    });
  }
}

function isValidAt({ facts }: ChainCertificate, now: Instant): boolean {
  return facts.notBefore <= now && now < facts.notAfter;
}

function validityFault(ca: ChainCertificate, now: Instant): string | undefined {
  if (isValidAt(ca, now)) return undefined;
  const [from, until] = [ca.facts.notBefore, ca.facts.notAfter].map(formatInstant);
  return `is valid from ${from} until ${until}`;
}

const anyPurpose = '2.5.29.37.0';

/** Go and OpenSSL apply the extended key usage of a CA to the certificates below it. */
function purposeFault(ca: ChainCertificate, leaf: ChainCertificate): string | undefined {
  const allowed = keyPurposes(ca.parts);
  if (allowed === undefined || allowed.includes(anyPurpose)) return undefined;
  const missing = (keyPurposes(leaf.parts) ?? []).filter((purpose) => !allowed.includes(purpose));
  if (missing.length === 0) return undefined;
  return `does not allow the extended key usage ${missing.join(', ')}`;
}
