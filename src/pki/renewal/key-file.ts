import type { KeyObject } from 'node:crypto';
import { createPrivateKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { KeyAlgorithm } from '../../core/certificate-spec.ts';
import { AgentError } from '../../core/errors.ts';
import { encodePem, parsePem } from '../../core/pem.ts';
import { Secret } from '../../core/secret.ts';
import { unlessMissing } from '../../sys/file-error.ts';
import { readBoundedFile } from '../../sys/small-file.ts';

/** The kind and size of a key. */
export type KeyKind =
  | { readonly type: 'rsa'; readonly bits: number }
  | { readonly type: 'ec'; readonly curve: string }
  | { readonly type: 'ed25519' };

/** OpenSSL's name of each curve, and the name for users. */
const curves: ReadonlyMap<string, string> = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
]);

/** Smaller keys are rejected by Go and by most TLS libraries. */
const leastBits = 2048;

/** The kind of a new key that replaces this one. @throws AgentError KEY_UNSUPPORTED */
export function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): KeyKind {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'rsa') return { type: 'rsa', bits: Math.max(modulusLength, leastBits) };
  if (asymmetricKeyType === 'ed25519') return { type: 'ed25519' };
  if (asymmetricKeyType === 'ec' && curves.has(namedCurve))
    return { type: 'ec', curve: namedCurve };
  const found = [asymmetricKeyType, namedCurve].filter(Boolean).join(' ');
  throw new AgentError('KEY_UNSUPPORTED', `keys of the kind ${found} are not supported`, {
    remedy: 'Choose the kind of the new key: --key ecdsa-p256',
  });
}

const kinds: Readonly<Record<KeyAlgorithm, KeyKind>> = {
  'ecdsa-p256': { type: 'ec', curve: 'prime256v1' },
  'ecdsa-p384': { type: 'ec', curve: 'secp384r1' },
  'rsa-2048': { type: 'rsa', bits: 2048 },
  'rsa-3072': { type: 'rsa', bits: 3072 },
  'rsa-4096': { type: 'rsa', bits: 4096 },
  ed25519: { type: 'ed25519' },
};

export function kindOfAlgorithm(algorithm: KeyAlgorithm): KeyKind {
  return kinds[algorithm];
}

/** `ECDSA P-256`, `RSA 2048`, `Ed25519`. */
export function describeKind(kind: KeyKind): string {
  switch (kind.type) {
    case 'rsa':
      return `RSA ${kind.bits}`;
    case 'ec':
      return `ECDSA ${curves.get(kind.curve) ?? kind.curve}`;
    case 'ed25519':
      return 'Ed25519';
    default:
      return kind satisfies never;
  }
}

/** OpenSSL keeps the key in its own memory, and zeroes it after garbage collection. */
export async function generateKey(kind: KeyKind): Promise<KeyObject> {
  const generate = promisify(generateKeyPair);
  switch (kind.type) {
    case 'rsa':
      return (await generate('rsa', { modulusLength: kind.bits })).privateKey;
    case 'ec':
      return (await generate('ec', { namedCurve: kind.curve })).privateKey;
    case 'ed25519':
      return (await generate('ed25519')).privateKey;
    default:
      return kind satisfies never;
  }
}

/** The PEM labels of private keys that are not encrypted. */
const labels = { pkcs1: 'RSA PRIVATE KEY', sec1: 'EC PRIVATE KEY', pkcs8: 'PRIVATE KEY' } as const;
export type KeyForm = keyof typeof labels;

/** The form that kubeadm writes (client-go keyutil). */
const usualForms: Readonly<Record<KeyKind['type'], KeyForm>> = {
  rsa: 'pkcs1',
  ec: 'sec1',
  ed25519: 'pkcs8',
};

/**
 * The key in PEM, in the form of the previous key if this kind of key has that form: a program
 * that reads only PKCS #8 can then read the new key too.
 */
export function exportKey(key: KeyObject, previous?: KeyForm): Secret {
  const usual = usualForms[kindOf(key).type];
  const form = previous === 'pkcs8' ? previous : usual;
  // There is no overload for the union of the three forms.
  const der = key.export({ format: 'der', type: form as 'pkcs8' });
  try {
    return new Secret(encodePem(labels[form], der));
  } finally {
    der.fill(0);
  }
}

/** The form of the first private key in PEM; undefined if there is none. */
export function formOf(pem: Secret): KeyForm | undefined {
  try {
    const blocks = parsePem(pem.expose());
    for (const { der } of blocks) der.fill(0);
    const found = blocks.map(({ label }) => label);
    return (Object.keys(labels) as KeyForm[]).find((form) => found.includes(labels[form]));
  } catch {
    // The previous file is corrupt, and only its form is of interest.
    return undefined;
  }
}

/**
 * The private key of a file in PKCS #1, SEC 1 or PKCS #8; undefined if there is no file.
 * @throws AgentError KEY_UNSUPPORTED for an encrypted key, PAIR_MALFORMED, STORE_*
 */
export async function readKeyFile(path: string): Promise<KeyObject | undefined> {
  return unlessMissing(async () => {
    using file = await readBoundedFile(path);
    return parseKey(file.content, path);
  });
}

/** @throws AgentError KEY_UNSUPPORTED for an encrypted key, PAIR_MALFORMED */
export function parseKey(pem: Secret, path: string): KeyObject {
  const { buffer, byteOffset, byteLength } = pem.expose();
  const view = Buffer.from(buffer, byteOffset, byteLength);
  // `ENCRYPTED PRIVATE KEY` in PKCS #8, `Proc-Type: 4,ENCRYPTED` in the older forms.
  if (view.includes('ENCRYPTED')) {
    throw new AgentError('KEY_UNSUPPORTED', `the private key ${path} is encrypted`, {
      remedy: `Replace ${path} with the decrypted key during the renewal: openssl pkey -in ${path}`,
    });
  }
  try {
    return createPrivateKey({ key: view, format: 'pem' });
  } catch {
    // Without the cause, which may quote the file.
    throw new AgentError('PAIR_MALFORMED', `${path} contains no private key in PEM`, {
      remedy: `Restore ${path} from a backup`,
    });
  }
}
