import type { KeyObject } from 'node:crypto';
import { createPublicKey } from 'node:crypto';
import type { CertificateParts, RawExtension } from '../../core/certificate-parts.ts';
import {
  extensionIds,
  withoutRepeatedNames,
  writeExtension,
  writeToBeSigned,
} from '../../core/certificate-parts.ts';
import { derTags, readDer, writeDer } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { authorityIdentifier, keyIdentifier, newSerial } from './certificate-fields.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { subjectOf } from './certificate-chain.ts';
import { signatureAlgorithm, signDer } from './signature.ts';

/** A new certificate like `leaf`, except for key, serial number and validity. */
export interface ReissueRequest {
  readonly leaf: ChainCertificate;
  readonly signer: { readonly certificate: ChainCertificate; readonly key: KeyObject };
  /** The new private key. */
  readonly key: KeyObject;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

/** Critical extensions whose meaning does not depend on key, serial number or validity. */
const copyable: ReadonlySet<string> = new Set([
  extensionIds.keyUsage,
  extensionIds.extendedKeyUsage,
  extensionIds.subjectAltName,
  extensionIds.basicConstraints,
  extensionIds.certificatePolicies,
]);

/** @throws AgentError CERT_UNTRUSTED if a copy of this certificate could have another meaning */
export function requireReissuable(leaf: ChainCertificate, file: string): void {
  const remedy = `Renew ${file} with the program that issued it`;
  if (leaf.isCa) {
    const message = `${file} is a CA (${subjectOf(leaf)}), and this command does not renew CAs`;
    throw new AgentError('CERT_UNTRUSTED', message, { remedy });
  }
  const unknown = leaf.parts.extensions.find(({ critical, oid }) => critical && !copyable.has(oid));
  if (unknown === undefined) return;
  throw new AgentError(
    'CERT_UNTRUSTED',
    `${file} has the critical extension ${unknown.oid}, which nodecertd does not know`,
    { remedy },
  );
}

/** The certificate in DER. @throws AgentError KEY_UNSUPPORTED, CERT_MALFORMED */
export function reissue({
  leaf,
  signer,
  key,
  notBefore,
  notAfter,
}: ReissueRequest): Uint8Array<ArrayBuffer> {
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const algorithm = signatureAlgorithm(signer.key);
  const toBeSigned = writeToBeSigned({
    serial: newSerial(),
    algorithm,
    issuer: signer.certificate.parts.subject,
    notBefore,
    notAfter,
    subject: leaf.parts.subject,
    publicKey,
    extensions: extensionsFor(leaf.parts, signer.certificate.parts, publicKey),
  });
  return signDer(toBeSigned, signer.key);
}

/** The extensions of the previous certificate in its order, with new key identifiers. */
function extensionsFor(
  leaf: CertificateParts,
  authority: CertificateParts,
  publicKey: Uint8Array,
): Uint8Array[] {
  return leaf.extensions.map((extension) => {
    try {
      return extensionFor(extension, authority, publicKey);
    } catch (error) {
      const message = `the extension ${extension.oid} of the certificate cannot be parsed`;
      throw new AgentError('CERT_MALFORMED', message, {
        cause: error,
        remedy: 'Renew the certificate with the program that issued it',
      });
    }
  });
}

function extensionFor(
  extension: RawExtension,
  authority: CertificateParts,
  publicKey: Uint8Array,
): Uint8Array {
  switch (extension.oid) {
    case extensionIds.subjectKeyIdentifier:
      return writeExtension(
        extension.oid,
        writeDer(derTags.octetString, keyIdentifier({ publicKey })),
      );
    case extensionIds.authorityKeyIdentifier:
      return writeExtension(extension.oid, authorityKeyIdentifier(extension, authority));
    case extensionIds.subjectAltName:
      return withoutRepeatedNames(extension);
    default:
      return extension.encoded;
  }
}

/**
 * RFC 5280 4.2.1.1: the key identifier as it is in the certificate of the CA. Names the issuer and
 * serial number of that certificate only if the previous extension did.
 */
function authorityKeyIdentifier(previous: RawExtension, authority: CertificateParts): Uint8Array {
  const [fields] = readDer(previous.value);
  const namesIssuer = readDer(fields?.content ?? new Uint8Array()).some(({ tag }) => tag === 0xa1);
  const issuer = namesIssuer
    ? [writeDer(0xa1, writeDer(0xa4, authority.issuer)), writeDer(0x82, authority.serial)]
    : [];
  return writeDer(derTags.sequence, writeDer(0x80, authorityIdentifier(authority)), ...issuer);
}
