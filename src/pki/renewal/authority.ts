import type { KeyObject } from 'node:crypto';
import { basicConstraints, maySignCertificates } from '../../core/certificate-parts.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { chainAbove, isIssuedBy, isSelfIssued, issuerOf, subjectOf } from './certificate-chain.ts';

/** The certificates of a CA file, and the key beside it. */
export interface AuthorityFile {
  readonly path: string;
  /** The content of the file. */
  readonly pem: Uint8Array;
  readonly certificates: readonly ChainCertificate[];
  readonly keyPath: string;
  /** Absent if the key is not on this machine. */
  readonly key?: KeyObject;
}

export type Signer =
  | { readonly kind: 'local'; readonly certificate: ChainCertificate; readonly key: KeyObject }
  /** The key of the CA is not on this machine. */
  | { readonly kind: 'external'; readonly certificate: ChainCertificate };

export interface SignerRequest {
  /** The name in kubeadm, for messages. */
  readonly name: string;
  readonly leaf: ChainCertificate;
  /** The other certificates in the file of the leaf. */
  readonly chain: readonly ChainCertificate[];
  readonly authority: AuthorityFile;
  /** The file of the leaf, for messages. */
  readonly file: string;
  readonly now: Instant;
}

/**
 * The CA that signed the leaf. A CA file may contain several certificates, often with one name,
 * and during the replacement of a CA the right one need not be the first.
 * @throws AgentError CERT_UNTRUSTED, CERT_KEY_MISMATCH, CERT_EXPIRED, CERT_NOT_YET_VALID
 */
export function findSigner(request: SignerRequest): Signer {
  const { leaf, authority, now } = request;
  const signers = authority.certificates.filter((candidate) => isIssuedBy(leaf, candidate));
  const [first] = signers;
  if (first === undefined) {
    const anchor = anchorAbove(request);
    if (anchor === undefined) throw otherAuthority(request);
    return { kind: 'external', certificate: anchor };
  }
  const { key } = authority;
  if (key !== undefined && !first.openssl.checkPrivateKey(key)) throw wrongKey(request, first);
  // A renewed CA certificate often has the key of the previous one.
  const certificate = signers.find((candidate) => isValidAt(candidate, now)) ?? first;
  requireValid(authority.path, certificate, now);
  requireAuthority(authority.path, certificate);
  requirePathLengths(request, certificate);
  if (key === undefined) return { kind: 'external', certificate };
  return { kind: 'local', certificate, key };
}

/** The CA that signed the intermediate CAs in the file of the leaf, whose keys are elsewhere. */
function anchorAbove({ leaf, chain, authority }: SignerRequest): ChainCertificate | undefined {
  const top = chainAbove(leaf, chain).at(-1);
  return top && authority.certificates.find((candidate) => isIssuedBy(top, candidate));
}

function otherAuthority({ name, leaf, authority, file }: SignerRequest): AgentError {
  const issuer = issuerOf(leaf);
  const subjects = authority.certificates.map(subjectOf);
  const found = subjects.length === 0 ? 'no certificate' : subjects.join('; ');
  const message = subjects.includes(issuer)
    ? `${file} was signed by another CA with the name ${issuer}: the key of the CA in ${authority.path} does not verify its signature`
    : `${file} was signed by the CA ${issuer}, not by a CA in ${authority.path} (${found})`;
  return new AgentError('CERT_UNTRUSTED', message, {
    remedy: `Restore the CA and its key at ${authority.path} and ${authority.keyPath}; if the CA was replaced, issue the certificate again: kubeadm certs renew ${name}; if another program issues ${file}, renew it there`,
  });
}

function wrongKey({ authority, file }: SignerRequest, signer: ChainCertificate): AgentError {
  const { key } = authority;
  const owner = authority.certificates.find(
    ({ openssl }) => key !== undefined && openssl.checkPrivateKey(key),
  );
  const belongs =
    owner === undefined
      ? `no certificate in ${authority.path}`
      : `the CA ${subjectOf(owner)} with serial ${owner.facts.serial}`;
  return new AgentError(
    'CERT_KEY_MISMATCH',
    `${authority.keyPath} belongs to ${belongs}, but ${file} was signed by the CA ${subjectOf(signer)} with serial ${signer.facts.serial}`,
    { remedy: `Restore the key of that CA at ${authority.keyPath}` },
  );
}

function isValidAt({ facts }: ChainCertificate, now: Instant): boolean {
  return facts.notBefore <= now && now < facts.notAfter;
}

function requireValid(path: string, { facts }: ChainCertificate, now: Instant): void {
  if (now >= facts.notAfter) {
    throw new AgentError(
      'CERT_EXPIRED',
      `the CA ${path} expired at ${formatInstant(facts.notAfter)}`,
      {
        remedy: 'Replace the CA first: clients and servers reject every certificate that it signs',
      },
    );
  }
  if (now < facts.notBefore) {
    throw new AgentError(
      'CERT_NOT_YET_VALID',
      `the CA ${path} is valid from ${formatInstant(facts.notBefore)}, and the clock says ${formatInstant(now)}`,
      { remedy: 'Correct the clock: timedatectl' },
    );
  }
}

function requireAuthority(path: string, certificate: ChainCertificate): void {
  const fault = signingFault(certificate);
  if (fault === undefined) return;
  throw new AgentError('CERT_UNTRUSTED', `${path} ${fault}`, {
    remedy: `Restore the certificate of the CA at ${path}`,
  });
}

/** Why this certificate cannot sign others; undefined if it can. */
export function signingFault({ isCa, parts }: ChainCertificate): string | undefined {
  if (!isCa) return 'is not a CA (no basic constraint CA:TRUE)';
  if (!maySignCertificates(parts)) {
    return 'may not sign certificates (its key usage lacks cert sign)';
  }
  return undefined;
}

function requirePathLengths({ chain, authority }: SignerRequest, signer: ChainCertificate): void {
  const above = chainAbove(signer, [...authority.certificates, ...chain]);
  const fault = pathLengthFault([signer, ...above], authority.path);
  if (fault === undefined) return;
  throw new AgentError('CERT_UNTRUSTED', fault, {
    remedy: 'Issue the intermediate CA again from a CA that allows it',
  });
}

/**
 * RFC 5280 4.2.1.9: each CA limits the number of intermediate CAs below it.
 * @param authorities from the issuer of the leaf upward
 * @param file of the intermediate CAs, for the message
 */
export function pathLengthFault(
  authorities: readonly ChainCertificate[],
  file: string,
): string | undefined {
  let intermediates = 0;
  for (const ca of authorities) {
    const { pathLength = Infinity } = basicConstraints(ca.parts);
    if (intermediates > pathLength) {
      return `the CA ${subjectOf(ca)} allows ${pathLength} intermediate CAs below it, and ${file} has ${intermediates}`;
    }
    if (!isSelfIssued(ca)) intermediates += 1;
  }
  return undefined;
}
