import { constants, verify } from 'node:crypto';
import type { SigningOptions, VerifyPublicKeyInput } from 'node:crypto';
import { writeOid } from '../../core/certificate-parts.ts';
import { derTags, writeDer } from '../../core/der.ts';
import type { KeyFacts } from './key.ts';

interface SignatureAlgorithm {
  readonly name: string;
  readonly key: KeyFacts['kind'];
  /** Ed25519 has no separate hash. */
  readonly hash?: 'sha256' | 'sha384' | 'sha512';
  readonly options?: SigningOptions;
}

const hashes = [
  { hash: 'sha256', bytes: 32, oid: '2.16.840.1.101.3.4.2.1', ecdsa: 2, rsa: 11 },
  { hash: 'sha384', bytes: 48, oid: '2.16.840.1.101.3.4.2.2', ecdsa: 3, rsa: 12 },
  { hash: 'sha512', bytes: 64, oid: '2.16.840.1.101.3.4.2.3', ecdsa: 4, rsa: 13 },
] as const;

const nullValue = writeDer(0x05);
const rsaPss = '1.2.840.113549.1.1.10';

/**
 * By the hexadecimal AlgorithmIdentifier, as Go's crypto/x509 accepts it. RFC 4055 also allows an
 * RSA algorithm without parameters.
 */
const algorithms: ReadonlyMap<string, SignatureAlgorithm> = new Map(
  [
    ...hashes.flatMap(({ hash, bytes, oid, ecdsa, rsa }): [Uint8Array, SignatureAlgorithm][] => {
      const size = hash.slice(3);
      const pkcs1 = { name: `RSA with SHA-${size}`, key: 'rsa', hash } as const;
      const pkcs1Id = writeOid(`1.2.840.113549.1.1.${rsa}`);
      const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: bytes };
      return [
        [
          sequence(writeOid(`1.2.840.10045.4.3.${ecdsa}`)),
          { name: `ECDSA with SHA-${size}`, key: 'ec', hash },
        ],
        [sequence(pkcs1Id, nullValue), pkcs1],
        [sequence(pkcs1Id), pkcs1],
        [
          sequence(writeOid(rsaPss), pssParameters(oid, bytes)),
          { name: `RSA-PSS with SHA-${size}`, key: 'rsa', hash, options: pss },
        ],
      ];
    }),
    [sequence(writeOid('1.3.101.112')), { name: 'Ed25519', key: 'ed25519' }] as [
      Uint8Array,
      SignatureAlgorithm,
    ],
  ].map(([encoded, algorithm]) => [hexOf(encoded), algorithm]),
);

/** RFC 4055 3.1: the same hash for the message and for MGF1, and a salt of the hash's length. */
function pssParameters(hashOid: string, saltLength: number): Uint8Array {
  const hash = sequence(writeOid(hashOid), nullValue);
  const mask = sequence(writeOid('1.2.840.113549.1.1.8'), hash);
  const salt = writeDer(derTags.integer, Uint8Array.of(saltLength));
  return sequence(writeDer(0xa0, hash), writeDer(0xa1, mask), writeDer(0xa2, salt));
}

function sequence(...fields: readonly Uint8Array[]): Uint8Array {
  return writeDer(derTags.sequence, ...fields);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

export interface SignedRequest {
  /** The bytes that are signed. */
  readonly info: Uint8Array;
  /** AlgorithmIdentifier in DER. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  readonly key: KeyFacts;
}

/** The reason why the signature does not prove that the requestor has the key; undefined if it does. */
export function signatureProblem({
  info,
  algorithm: encoded,
  signature,
  publicKey,
  key,
}: SignedRequest): string | undefined {
  const algorithm = algorithms.get(hexOf(encoded));
  if (algorithm === undefined) return 'the signature does not use SHA-256 or better, or Ed25519';
  if (algorithm.key !== key.kind)
    return `the signature algorithm ${algorithm.name} does not fit the key`;
  try {
    // A KeyObject would keep 5 kB outside the heap until the next garbage collection.
    const options: VerifyPublicKeyInput & SigningOptions = {
      key: Buffer.from(publicKey),
      format: 'der',
      type: 'spki',
      ...algorithm.options,
    };
    return verify(algorithm.hash ?? null, info, options, signature)
      ? undefined
      : 'the signature is not valid for the key in the request';
  } catch {
    // OpenSSL rejects the key, for example a point that is not on its curve.
    return 'the signature cannot be verified with the key in the request';
  }
}
