import { KeyObject, webcrypto } from 'node:crypto';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import type { SigningKeys } from '../core/csr.ts';
import { keyParameters } from '../core/csr.ts';
import { AgentError } from '../core/errors.ts';
import { encodePem } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';

/**
 * A private key that has not been on disk. Of its two copies one is the PEM, which is
 * wiped with this object. The other is OpenSSL's own, which OpenSSL zeroes when the
 * garbage collector lets go of it.
 */
export interface PrivateKey extends Disposable {
  readonly algorithm: KeyAlgorithm;
  /** For signing the request. */
  readonly pair: Required<SigningKeys>;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** The PEM form in which the kubelet writes such a key; owned by this object. */
  readonly pem: Secret;
}

/**
 * Makes a key, with the runtime's own provider: it keeps keys in OpenSSL alone.
 * @peculiar/webcrypto, which does the rest of the work here, keeps them as DER and,
 * once they have signed, as a string, and neither can be wiped from outside.
 * @throws AgentError KEY_UNSUPPORTED
 */
export async function generatePrivateKey(algorithm: KeyAlgorithm): Promise<PrivateKey> {
  const { generate } = keyParameters[algorithm];
  try {
    const keys = await webcrypto.subtle.generateKey(generate, true, ['sign', 'verify']);
    if (!('privateKey' in keys)) throw new TypeError('not a key pair');
    const { privateKey, publicKey } = keys;
    const spki = new Uint8Array(await webcrypto.subtle.exportKey('spki', publicKey));
    const pem = exportPem(algorithm, KeyObject.from(privateKey));
    return {
      algorithm,
      pair: { privateKey, publicKey, provider: webcrypto },
      publicKey: spki,
      pem,
      [Symbol.dispose]: () => pem.wipe(),
    };
  } catch (error) {
    throw new AgentError('KEY_UNSUPPORTED', `no ${algorithm} key could be made`, { cause: error });
  }
}

function exportPem(algorithm: KeyAlgorithm, key: KeyObject): Secret {
  const { label, type } = keyParameters[algorithm].pem;
  // The union of the three types has no overload of its own.
  const der = key.export({ format: 'der', type: type as 'pkcs8' });
  try {
    return new Secret(encodePem(label, der));
  } finally {
    der.fill(0);
  }
}

/**
 * The content of a pair file: certificates, then the key. Not Buffer.concat: that
 * takes memory of a pool, in which a copy of the key would stay behind.
 */
export function pairPem(certificates: Uint8Array, key: PrivateKey): Secret {
  const secret = key.pem.expose();
  const bytes = new Uint8Array(certificates.length + secret.length);
  bytes.set(certificates);
  bytes.set(secret, certificates.length);
  return new Secret(bytes);
}
