import { extensionIds, extensionOf, withoutRepeatedNames, writeOid } from './certificate-parts.ts';
import type { CertificateParts } from './certificate-parts.ts';
import { derTags, writeDer } from './der.ts';

/** PKCS #9 extensionRequest (RFC 2985 5.4.2), through which a CSR asks for extensions. */
const extensionRequest = '1.2.840.113549.1.9.14';
const attributesTag = 0xa0;
const setTag = 0x31;

/** The extensions that a CA takes from a CSR. It sets all others itself. */
const requestable: readonly string[] = [
  extensionIds.keyUsage,
  extensionIds.extendedKeyUsage,
  extensionIds.subjectAltName,
];

/**
 * CertificationRequestInfo (RFC 2986 4.1), the part of a CSR that its own key signs: the subject
 * and the extensions of an existing certificate as bytes, with another key.
 * @param publicKey SubjectPublicKeyInfo in DER
 */
export function writeRequestInfo(
  existing: Pick<CertificateParts, 'subject' | 'extensions'>,
  publicKey: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const extensions = requestable.flatMap((oid) => {
    const extension = extensionOf(existing, oid);
    if (extension === undefined) return [];
    return [
      oid === extensionIds.subjectAltName ? withoutRepeatedNames(extension) : extension.encoded,
    ];
  });
  const attributes =
    extensions.length === 0
      ? []
      : [
          writeDer(
            derTags.sequence,
            writeOid(extensionRequest),
            writeDer(setTag, writeDer(derTags.sequence, ...extensions)),
          ),
        ];
  return writeDer(
    derTags.sequence,
    writeDer(derTags.integer, Uint8Array.of(0)),
    existing.subject,
    publicKey,
    // RFC 2986 requires the field even without attributes.
    writeDer(attributesTag, ...attributes),
  );
}
