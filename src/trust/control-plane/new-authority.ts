import type { KeyObject } from 'node:crypto';
import { createPublicKey } from 'node:crypto';
import {
  basicConstraints,
  extensionIds,
  extensionOf,
  writeCommonName,
  writeCriticalExtension,
  writeExtension,
  writeToBeSigned,
} from '../../core/certificate-parts.ts';
import type { NewCertificate } from '../../core/certificate-parts.ts';
import { derTags, isSameBytes, writeDer } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant, minute, second } from '../../core/instant.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { isIssuedBy, readCertificate } from '../../pki/renewal/certificate-chain.ts';
import {
  authorityIdentifier,
  keyIdentifier,
  newSerial,
} from '../../pki/renewal/certificate-fields.ts';
import type { KeyKind } from '../../pki/renewal/key-file.ts';
import { generateKey } from '../../pki/renewal/key-file.ts';
import { signatureAlgorithm, signDer } from '../../pki/renewal/signature.ts';

/** The certificate of a CA, and its key. */
export interface AuthorityPair {
  readonly certificate: ChainCertificate;
  readonly key: KeyObject;
}

/** A new CA, before its key exists. */
export interface AuthorityRequest {
  readonly commonName: string;
  readonly key: KeyKind;
  readonly lifetimeMs: number;
  /** The CA that the new one replaces. */
  readonly old: ChainCertificate;
  readonly now: Instant;
}

/** Creates a key, and a self-signed certificate with the extensions of kubeadm's CAs. */
export async function createAuthority({
  commonName,
  key: kind,
  lifetimeMs,
  old,
  now,
}: AuthorityRequest): Promise<AuthorityPair> {
  const key = await generateKey(kind);
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const start = Math.floor(now / second) * second;
  const subject = writeCommonName(commonName);
  const certificate = await issue(key, {
    issuer: subject,
    notBefore: beginning(start, old),
    notAfter: start + lifetimeMs,
    subject,
    publicKey,
    extensions: [
      writeCriticalExtension(extensionIds.keyUsage, keyUsage),
      writeCriticalExtension(extensionIds.basicConstraints, isCa),
      writeExtension(
        extensionIds.subjectKeyIdentifier,
        writeDer(derTags.octetString, keyIdentifier({ publicKey })),
      ),
      ...alternativeNamesOf(old),
    ],
  });
  if (!certificate.openssl.checkPrivateKey(key)) throw wrong('the new CA has another key');
  return { certificate, key };
}

/** As kubeadm and client-go do, because clocks differ. */
const backdate = 5 * minute;

/** `ca-rollover status` takes the CA that begins later for the new one. */
function beginning(start: Instant, { facts }: ChainCertificate): Instant {
  return Math.max(start - backdate, Math.min(facts.notBefore + second, start));
}

/** RFC 5280 4.2.1.3: digital signature, key encipherment and cert sign, with two unused bits. */
const keyUsage = writeDer(derTags.bitString, Uint8Array.of(2, 0xa4));
const isCa = writeDer(derTags.sequence, writeDer(0x01, Uint8Array.of(0xff)));
/** kubeadm's CAs have a DNS name, as in `kubernetes` and `etcd-ca`. */
function alternativeNamesOf({ parts }: ChainCertificate): Uint8Array[] {
  const own = parts.extensions.find(({ oid }) => oid === extensionIds.subjectAltName);
  return own === undefined ? [] : [own.encoded];
}

/** Why the old CA can issue no bridge; undefined if it can. */
export function bridgeObstacle(old: ChainCertificate, now: Instant): string | undefined {
  const { pathLength } = basicConstraints(old.parts);
  if (pathLength === 0) return 'the old CA allows no CA below it (path length 0)';
  const { notAfter } = old.facts;
  return now < notAfter ? undefined : `the old CA expired at ${formatInstant(notAfter)}`;
}

/**
 * The key of the new CA in a certificate that the old CA issued. It has the subject and the
 * extensions of the new CA, so a verifier can use it in its place, and it ends with the CA that ends
 * first.
 * @throws AgentError INTERNAL, KEY_UNSUPPORTED
 */
export async function createBridge(
  next: ChainCertificate,
  { old, now }: { readonly old: AuthorityPair; readonly now: Instant },
): Promise<ChainCertificate> {
  const { parts, facts } = next;
  const issuer = old.certificate;
  const start = Math.floor(now / second) * second;
  const bridge = await issue(old.key, {
    issuer: issuer.parts.subject,
    notBefore: Math.max(start - backdate, facts.notBefore, issuer.facts.notBefore),
    notAfter: Math.min(facts.notAfter, issuer.facts.notAfter),
    subject: parts.subject,
    publicKey: parts.publicKey,
    extensions: [...bridgeExtensions(next), authorityKeyIdentifier(issuer)],
  });
  if (!isBridge(bridge, { next, old: issuer })) throw wrong('the bridge is not from the old CA');
  return bridge;
}

/** OpenSSL in strict mode requires both key identifiers. */
function bridgeExtensions({ parts }: ChainCertificate): Uint8Array[] {
  const own = parts.extensions
    .filter(({ oid }) => oid !== extensionIds.authorityKeyIdentifier)
    .map(({ encoded }) => encoded);
  if (extensionOf(parts, extensionIds.subjectKeyIdentifier) !== undefined) return own;
  const identifier = writeDer(derTags.octetString, keyIdentifier(parts));
  return [...own, writeExtension(extensionIds.subjectKeyIdentifier, identifier)];
}

function authorityKeyIdentifier({ parts }: ChainCertificate): Uint8Array {
  const identifier = writeDer(0x80, authorityIdentifier(parts));
  return writeExtension(
    extensionIds.authorityKeyIdentifier,
    writeDer(derTags.sequence, identifier),
  );
}

/** True if a verifier that trusts only the old CA can use this certificate for the new CA. */
export function isBridge(
  bridge: ChainCertificate,
  { next, old }: { readonly next: ChainCertificate; readonly old: ChainCertificate },
): boolean {
  return (
    bridge.isCa &&
    isSameBytes(bridge.parts.subject, next.parts.subject) &&
    isSameBytes(bridge.parts.publicKey, next.parts.publicKey) &&
    isIssuedBy(bridge, old) &&
    bridge.openssl.checkIssued(old.openssl)
  );
}

/** Reads the new certificate again, so that a fault of our own writer does not confirm itself. */
async function issue(
  signer: KeyObject,
  fields: Omit<NewCertificate, 'serial' | 'algorithm'>,
): Promise<ChainCertificate> {
  const algorithm = signatureAlgorithm(signer);
  const toBeSigned = writeToBeSigned({ ...fields, serial: newSerial(), algorithm });
  return readCertificate(signDer(toBeSigned, signer));
}

function wrong(message: string): AgentError {
  return new AgentError('INTERNAL', message);
}
