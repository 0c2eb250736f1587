import type { KeyObject } from 'node:crypto';
import { sign } from 'node:crypto';
import { writeSigned } from '../../core/certificate-parts.ts';
import { derTags, writeDer } from '../../core/der.ts';
import { AgentError } from '../../core/errors.ts';

/** OID, and for RSA the parameter NULL (RFC 4055, RFC 5758, RFC 8410), in hexadecimal. */
const algorithms = {
  rsa: ['sha256', '06092a864886f70d01010b0500'],
  prime256v1: ['sha256', '06082a8648ce3d040302'],
  secp384r1: ['sha384', '06082a8648ce3d040303'],
  secp521r1: ['sha512', '06082a8648ce3d040304'],
  ed25519: [null, '06032b6570'],
} as const satisfies Readonly<Record<string, readonly [string | null, string]>>;

/** The AlgorithmIdentifier in DER of signatures by this key. @throws AgentError KEY_UNSUPPORTED */
export function signatureAlgorithm(key: KeyObject): Uint8Array<ArrayBuffer> {
  const [, identifier] = algorithmOf(key);
  return writeDer(derTags.sequence, Uint8Array.fromHex(identifier));
}

/** @throws AgentError KEY_UNSUPPORTED if this key of a CA cannot sign certificates */
export function requireSigningKey(key: KeyObject, file: string): void {
  try {
    signatureAlgorithm(key);
  } catch (error) {
    throw error instanceof AgentError ? error.withMessage(`${file}: ${error.message}`) : error;
  }
}

/** A certificate or a CSR in DER, signed by this key. @throws AgentError KEY_UNSUPPORTED */
export function signDer(toBeSigned: Uint8Array, key: KeyObject): Uint8Array<ArrayBuffer> {
  // Null if the algorithm defines its hash.
  const [hash] = algorithmOf(key);
  const signature = sign(hash, toBeSigned, key);
  return writeSigned(toBeSigned, { algorithm: signatureAlgorithm(key), signature });
}

/** Each hash matches the strength of the key, as in Go's x509 package. */
function algorithmOf(key: KeyObject): (typeof algorithms)[keyof typeof algorithms] {
  const name = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? '';
  if (name in algorithms) return algorithms[name as keyof typeof algorithms];
  throw new AgentError('KEY_UNSUPPORTED', `keys of the kind ${name} are not supported`, {
    remedy: 'Renew the certificate with the program that issued it',
  });
}
