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
  let der = pkcs8;
  try {
    if (type !== 'pkcs8') der = convert(pkcs8, type);
    return new Secret(encodePem(label, der));
  } finally {
    pkcs8.fill(0);
    der.fill(0);
  }
}

function convert(pkcs8: Buffer<ArrayBuffer>, type: 'sec1' | 'pkcs1'): Buffer<ArrayBuffer> {
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  // The union of the two types has no overload of its own.
  return key.export({ format: 'der', type: type as 'pkcs1' });
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
