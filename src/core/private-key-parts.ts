import { publicKeyBits, readParts } from './certificate-parts.ts';
import { contentOf, derTags, isSameBytes, readDer, writeDer } from './der.ts';
import type { DerValue } from './der.ts';

export type PrivateKeyForm = 'pkcs1' | 'pkcs8' | 'sec1';

/** The public point of a SEC 1 key (RFC 5915). */
const pointTag = 0xa1;

/**
 * True if a private key in DER contains the public key of a certificate in DER. OpenSSL compares the
 * same bytes, but would keep a copy of the private key for a while. False says nothing: the key may
 * lack its public key, or have another encoding.
 */
export function hasPublicKeyOf(
  certificate: Uint8Array,
  key: Uint8Array,
  form: PrivateKeyForm,
): boolean {
  try {
    const found = publicBits(fieldsOf(key), form);
    return found !== undefined && isSameBytes(found, publicKeyBits(readParts(certificate)));
  } catch {
    return false;
  }
}

/** The content of the BIT STRING of a SubjectPublicKeyInfo. @throws Error for malformed DER */
function publicBits(fields: readonly DerValue[], form: PrivateKeyForm): Uint8Array | undefined {
  switch (form) {
    case 'pkcs1': {
      // RFC 8017 A.1.2: version, modulus, public exponent, and six private numbers.
      const [, modulus, exponent] = fields;
      if (fields.length < 9 || modulus === undefined || exponent === undefined) return undefined;
      return writeDer(derTags.sequence, modulus.encoded, exponent.encoded);
    }
    case 'sec1': {
      const point = fields.find(({ tag }) => tag === pointTag);
      // The first byte counts the unused bits at the end.
      return point && contentOf(readDer(point.content)[0]).subarray(1);
    }
    case 'pkcs8': {
      const inner = fieldsOf(contentOf(fields[2]));
      return publicBits(inner, inner[1]?.tag === derTags.octetString ? 'sec1' : 'pkcs1');
    }
    default:
      return form satisfies never;
  }
}

function fieldsOf(der: Uint8Array): DerValue[] {
  return readDer(contentOf(readDer(der)[0]));
}
