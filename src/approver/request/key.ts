import type { DerValue } from '../../core/der.ts';
import {
  DerError,
  bitStringBytes,
  integerContent,
  oidText,
  onlyValue,
  sequenceFields,
} from '../../core/strict-der.ts';

/** What the checks know about the public key of a CSR. */
export type KeyFacts =
  | { readonly kind: 'ec'; /** As in P-256, or an OID. */ readonly curve: string }
  | { readonly kind: 'rsa'; readonly bits: number; readonly exponent: bigint }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'other'; readonly algorithm: string };

const nullEncoded = [0x05, 0x00] as const;

/** The curves that checks accept, with the bytes of a coordinate. */
const curves: Readonly<Record<string, { readonly name: string; readonly bytes: number }>> = {
  '1.2.840.10045.3.1.7': { name: 'P-256', bytes: 32 },
  '1.3.132.0.34': { name: 'P-384', bytes: 48 },
  '1.3.132.0.35': { name: 'P-521', bytes: 66 },
};

/** Reads a SubjectPublicKeyInfo. @throws DerError */
export function readKey(value: DerValue | undefined): KeyFacts {
  const [algorithm, bits, ...rest] = sequenceFields(value);
  if (rest.length > 0) throw new DerError('the public key has more than two fields');
  const key = bitStringBytes(bits);
  const [id, parameters, ...more] = sequenceFields(algorithm);
  if (more.length > 0) throw new DerError('the algorithm of the public key has too many fields');
  switch (oidText(id)) {
    case '1.2.840.10045.2.1':
      return ecKey(oidText(parameters), key);
    case '1.2.840.113549.1.1.1':
      return rsaKey(parameters, key);
    case '1.3.101.112':
      if (parameters !== undefined || key.length !== 32)
        throw new DerError('the Ed25519 key is malformed');
      return { kind: 'ed25519' };
    default:
      return { kind: 'other', algorithm: oidText(id) };
  }
}

function ecKey(oid: string, point: Uint8Array): KeyFacts {
  const curve = curves[oid];
  if (curve === undefined) return { kind: 'ec', curve: oid };
  // Go accepts only the uncompressed form.
  if (point[0] !== 0x04 || point.length !== 1 + 2 * curve.bytes) {
    throw new DerError('the EC point is not in uncompressed form');
  }
  return { kind: 'ec', curve: curve.name };
}

function rsaKey(parameters: DerValue | undefined, key: Uint8Array): KeyFacts {
  const isNull = nullEncoded.every((byte, index) => parameters?.encoded[index] === byte);
  if (!isNull) throw new DerError('the parameters of the RSA key are not NULL');
  const [modulus, exponent, ...rest] = sequenceFields(onlyValue(key))
    .map(integerContent)
    .map(positive);
  if (modulus === undefined || exponent === undefined || rest.length > 0) {
    throw new DerError('the RSA key does not have two numbers');
  }
  return { kind: 'rsa', bits: bitLength(modulus), exponent };
}

function positive(content: Uint8Array): bigint {
  const number = BigInt(`0x${Buffer.from(content).toString('hex')}`);
  if ((content[0] ?? 0) >= 0x80 || number === 0n)
    throw new DerError('a number of the RSA key is not positive');
  return number;
}

function bitLength(number: bigint): number {
  return number.toString(2).length;
}

/** The reason why a key is too weak; undefined if it is not. */
export function weaknessOf(key: KeyFacts): string | undefined {
  switch (key.kind) {
    case 'ec':
      return Object.values(curves).some(({ name }) => name === key.curve)
        ? undefined
        : `the key is on the curve ${key.curve}`;
    case 'rsa':
      if (key.bits < 2048 || key.bits > 8192) return `the RSA key has ${key.bits} bits`;
      // Go reads an exponent of at most 31 bits, and an even one has no private key.
      return key.exponent >= 65_537n && key.exponent < 2n ** 31n && key.exponent % 2n === 1n
        ? undefined
        : `the RSA key has an exponent ${shortNumber(key.exponent)}`;
    case 'ed25519':
      return undefined;
    case 'other':
      return `the key has the algorithm ${key.algorithm}`;
    default:
      return key satisfies never;
  }
}

/** A hostile exponent has thousands of digits. */
function shortNumber(number: bigint): string {
  return number < 2n ** 64n ? `of ${number}` : `of ${bitLength(number)} bits`;
}

/** `ECDSA P-256`, `RSA 2048`, `Ed25519`. */
export function formatKey(key: KeyFacts): string {
  switch (key.kind) {
    case 'ec':
      return `ECDSA ${key.curve}`;
    case 'rsa':
      return `RSA ${key.bits}`;
    case 'ed25519':
      return 'Ed25519';
    case 'other':
      return key.algorithm;
    default:
      return key satisfies never;
  }
}
