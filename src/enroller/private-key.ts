import { KeyObject, webcrypto } from 'node:crypto';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import type { SigningKeys } from '../core/csr.ts';
import { keyParameters } from '../core/csr.ts';
import { AgentError } from '../core/errors.ts';
import { encodePem } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';

/**
 * A private key that is not on disk yet. While its CSR is pending, which may take days, the
 * only copy is in OpenSSL's memory for secrets. The key exists as text only while it is being
 * stored. Disposal drops the copy, and OpenSSL zeroes it after garbage collection.
 */
export class PrivateKey implements Disposable {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  #pair: Required<SigningKeys> | undefined;

  /** @param publicKey SubjectPublicKeyInfo in DER */
  constructor(algorithm: KeyAlgorithm, pair: CryptoKeyPair, publicKey: Uint8Array<ArrayBuffer>) {
    this.algorithm = algorithm;
    this.publicKey = publicKey;
    this.#pair = { ...pair, provider: webcrypto };
  }

  /** For signing a request. Callers must not keep it. @throws AgentError INTERNAL after disposal */
  get pair(): Required<SigningKeys> {
    if (this.#pair === undefined)
      throw new AgentError('INTERNAL', 'the private key was disposed of');
    return this.#pair;
  }

  /** PEM as the kubelet writes it. The caller wipes it. */
  exportPem(): Secret {
    const { label, type } = keyParameters[this.algorithm].pem;
    const key = KeyObject.from(this.pair.privateKey);
    // There is no overload for the union of the three types.
    const der = key.export({ format: 'der', type: type as 'pkcs8' });
    try {
      return new Secret(encodePem(label, der));
    } finally {
      der.fill(0);
    }
  }

  [Symbol.dispose](): void {
    this.#pair = undefined;
  }
}

/**
 * Generates a key with Node's own provider, which keeps keys inside OpenSSL. The other provider
 * of this program, @peculiar/webcrypto, keeps the key in DER and, after signing, in a string.
 * Neither can be wiped.
 * @throws AgentError KEY_UNSUPPORTED
 */
export async function generatePrivateKey(algorithm: KeyAlgorithm): Promise<PrivateKey> {
  const { generate } = keyParameters[algorithm];
  try {
    const pair = await webcrypto.subtle.generateKey(generate, true, ['sign', 'verify']);
    if (!('privateKey' in pair)) throw new TypeError('not a key pair');
    const publicKey = new Uint8Array(await webcrypto.subtle.exportKey('spki', pair.publicKey));
    return new PrivateKey(algorithm, pair, publicKey);
  } catch (error) {
    throw new AgentError('KEY_UNSUPPORTED', `cannot generate a ${algorithm} key`, { cause: error });
  }
}

/**
 * The content of a PEM file with certificates and key. Buffer.concat would keep a copy of the
 * key in pooled memory.
 */
export function pairPem(certificates: Uint8Array, key: PrivateKey): Secret {
  using pem = key.exportPem();
  const secret = pem.expose();
  const bytes = new Uint8Array(certificates.length + secret.length);
  bytes.set(certificates);
  bytes.set(secret, certificates.length);
  return new Secret(bytes);
}
