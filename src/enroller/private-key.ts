import { KeyObject, webcrypto } from 'node:crypto';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import type { SigningKeys } from '../core/csr.ts';
import { keyParameters } from '../core/csr.ts';
import { AgentError } from '../core/errors.ts';
import { encodePem } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';

/**
 * A private key that has not been on disk. While its request waits, which may take
 * days, there is one copy of it, in the memory that OpenSSL keeps for secrets; as text
 * it exists for the moment in which it is stored. Disposing gives the copy up: OpenSSL
 * zeroes it when the garbage collector finds that nobody holds it any more.
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

  /** For signing the request; never kept. @throws AgentError INTERNAL after it was disposed of */
  get pair(): Required<SigningKeys> {
    if (this.#pair === undefined) throw new AgentError('INTERNAL', 'the private key is gone');
    return this.#pair;
  }

  /** The PEM form in which the kubelet writes such a key, for the caller to wipe. */
  exportPem(): Secret {
    const { label, type } = keyParameters[this.algorithm].pem;
    const key = KeyObject.from(this.pair.privateKey);
    // The union of the three types has no overload of its own.
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
 * Makes a key, with the runtime's own provider: it keeps keys in OpenSSL alone.
 * @peculiar/webcrypto, which does the rest of the work here, keeps them as DER and,
 * once they have signed, as a string, and neither can be wiped from outside.
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
    throw new AgentError('KEY_UNSUPPORTED', `no ${algorithm} key could be made`, { cause: error });
  }
}

/**
 * The content of a pair file: certificates, then the key. Not Buffer.concat: that
 * takes memory of a pool, in which a copy of the key would stay behind.
 */
export function pairPem(certificates: Uint8Array, key: PrivateKey): Secret {
  using pem = key.exportPem();
  const secret = pem.expose();
  const bytes = new Uint8Array(certificates.length + secret.length);
  bytes.set(certificates);
  bytes.set(secret, certificates.length);
  return new Secret(bytes);
}
