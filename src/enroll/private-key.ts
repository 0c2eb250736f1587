import { createPrivateKey } from 'node:crypto';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import { keyParameters } from '../core/csr.ts';
import { AgentError } from '../core/errors.ts';
import { encodePem } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';
import { webcrypto } from '../core/x509.ts';

/**
 * A private key that has not been on disk. Copies made on the way (PKCS #8, DER)
 * are zeroed as soon as they are used; what the runtime itself still holds goes
 * with the process, which is why this one is short-lived.
 */
export interface PrivateKey extends Disposable {
  readonly algorithm: KeyAlgorithm;
  /** For signing the request. */
  readonly pair: CryptoKeyPair;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** The PEM form in which the kubelet writes such a key; owned by this object. */
  readonly pem: Secret;
}

/** Makes a key. @throws AgentError KEY_UNSUPPORTED */
export async function generatePrivateKey(algorithm: KeyAlgorithm): Promise<PrivateKey> {
  const { generate } = keyParameters[algorithm];
  try {
    const pair = await webcrypto.subtle.generateKey(generate, true, ['sign', 'verify']);
    if (!('privateKey' in pair)) throw new TypeError('not a key pair');
    const publicKey = new Uint8Array(await webcrypto.subtle.exportKey('spki', pair.publicKey));
    const pem = await exportPem(algorithm, pair.privateKey);
    return { algorithm, pair, publicKey, pem, [Symbol.dispose]: () => pem.wipe() };
  } catch (error) {
    throw new AgentError('KEY_UNSUPPORTED', `no ${algorithm} key could be made`, { cause: error });
  }
}

async function exportPem(algorithm: KeyAlgorithm, key: CryptoKey): Promise<Secret> {
  const { label, type } = keyParameters[algorithm].pem;
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const der =
    type === 'pkcs8'
      ? pkcs8
      : createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({
          format: 'der',
          // The union of the two types has no overload of its own.
          type: type as 'pkcs1',
        });
  const pem = new Secret(encodePem(label, der));
  pkcs8.fill(0);
  der.fill(0);
  return pem;
}
