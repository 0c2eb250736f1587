import { isDeepStrictEqual } from 'node:util';
import type { CertificateParts, RawExtension } from '../../core/certificate-parts.ts';
import { altNames, extensionIds } from '../../core/certificate-parts.ts';
import { isSameBytes } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { isIssuedBy } from './certificate-chain.ts';
import type { ReissueRequest } from './reissue.ts';

/**
 * Compares a new certificate with the one it replaces, before anything is written. OpenSSL checks
 * signature and key, so that a fault of our own writer cannot confirm itself.
 * @throws AgentError INTERNAL, or CERT_MALFORMED if the previous certificate has an extension that
 * OpenSSL cannot parse
 */
export function requireEquivalent(
  renewed: ChainCertificate,
  { leaf, signer, key, notBefore, notAfter }: ReissueRequest,
): void {
  const { certificate: authority } = signer;
  const checks: readonly (readonly [boolean, string])[] = [
    [isIssuedBy(renewed, authority), 'the CA did not sign it'],
    [renewed.openssl.checkPrivateKey(key), 'it has another key'],
    [isSameBytes(renewed.parts.subject, leaf.parts.subject), 'its subject differs'],
    [hasSameExtensions(renewed.parts, leaf.parts), 'its extensions differ'],
    [renewed.facts.serial !== leaf.facts.serial, 'it has the same serial number'],
    [renewed.facts.notBefore === notBefore, 'it begins at another time'],
    [renewed.facts.notAfter === notAfter, 'it ends at another time'],
    [renewed.facts.notAfter <= authority.facts.notAfter, 'it outlives the CA'],
  ];
  const [fault] = checks.filter(([isRight]) => !isRight);
  if (fault !== undefined) {
    throw new AgentError('INTERNAL', `the new certificate is wrong: ${fault[1]}`);
  }
  // The signature is right, so OpenSSL objects to an extension, which the new certificate has from
  // the previous one.
  if (renewed.openssl.checkIssued(authority.openssl)) return;
  throw new AgentError('CERT_MALFORMED', 'OpenSSL cannot parse an extension of the certificate', {
    remedy: 'Renew the certificate with the program that issued it',
  });
}

/** Compares without the code that made the extensions. */
function hasSameExtensions(renewed: CertificateParts, previous: CertificateParts): boolean {
  return (
    renewed.extensions.length === previous.extensions.length &&
    previous.extensions.every((extension, index) => isKept(extension, renewed.extensions[index]))
  );
}

function isKept(previous: RawExtension, renewed: RawExtension | undefined): boolean {
  if (renewed?.oid !== previous.oid || renewed.critical !== previous.critical) return false;
  switch (previous.oid) {
    case extensionIds.subjectKeyIdentifier:
    case extensionIds.authorityKeyIdentifier:
      return true;
    case extensionIds.subjectAltName: {
      const [before, after] = [previous, renewed].map((extension) =>
        altNames(extension).map((name) => Buffer.from(name).toString('hex')),
      );
      return isDeepStrictEqual([...new Set(before)], after);
    }
    default:
      return isSameBytes(previous.encoded, renewed.encoded);
  }
}
