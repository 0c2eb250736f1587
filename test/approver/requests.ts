import type { KeyObject, SignKeyObjectInput } from 'node:crypto';
import { generateKeyPairSync, sign } from 'node:crypto';
import { extensionIds, writeOid, writeSigned } from '../../src/core/certificate-parts.ts';
import { parseIp } from '../../src/core/cidr.ts';
import { derTags, writeDer } from '../../src/core/der.ts';
import { encodePem } from '../../src/core/pem.ts';

/** PKCS #10 requests written byte by byte, so that a test can break any part of one. */

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export const ecKeys: KeyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });

export interface Algorithm {
  /** The AlgorithmIdentifier in DER. */
  readonly encoded: Uint8Array;
  /** For node:crypto. */
  readonly hash: string | null;
  readonly options?: Omit<SignKeyObjectInput, 'key'>;
}

export interface RequestParts {
  readonly keys?: KeyPair;
  readonly algorithm?: Algorithm;
  readonly version?: number;
  /** Each a relative name with its attributes. */
  readonly subject?: readonly (readonly Attribute[])[];
  /** Each a GeneralName in DER. */
  readonly altNames?: readonly Uint8Array[];
  /** Each an Extension in DER, instead of the SANs. */
  readonly extensions?: readonly Uint8Array[];
  /** Each an attribute in DER, instead of an extensionRequest. */
  readonly attributes?: readonly Uint8Array[];
  readonly publicKey?: Uint8Array;
  /** Changes the signed part before it is signed. */
  readonly change?: (info: Uint8Array<ArrayBuffer>) => Uint8Array;
}

export interface Attribute {
  readonly oid: string;
  readonly value: string | Uint8Array;
  readonly tag?: number;
}

export const oids = { commonName: '2.5.4.3', organization: '2.5.4.10', unit: '2.5.4.11' };
const printableString = 0x13;
const extensionRequest = '1.2.840.113549.1.9.14';

export const ecdsaSha256: Algorithm = {
  encoded: sequence(writeOid('1.2.840.10045.4.3.2')),
  hash: 'sha256',
};

export function rsaAlgorithm(last: number, hash: string) {
  return { encoded: sequence(writeOid(`1.2.840.113549.1.1.${last}`), writeDer(0x05)), hash };
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return writeDer(derTags.sequence, ...parts);
}

export function nodeSubject(commonName: string): Attribute[][] {
  return [
    [{ oid: oids.organization, value: 'system:nodes' }],
    [{ oid: oids.commonName, value: commonName }],
  ];
}

export function dns(name: string | Uint8Array): Uint8Array {
  return writeDer(0x82, typeof name === 'string' ? Buffer.from(name, 'latin1') : name);
}

export function ip(address: string | Uint8Array): Uint8Array {
  if (typeof address !== 'string') return writeDer(0x87, address);
  const bytes = parseIp(address);
  if (bytes === undefined) throw new Error(`${address} is not an IP address`);
  return writeDer(0x87, bytes);
}

export function extension(oid: string, value: Uint8Array, critical?: Uint8Array): Uint8Array {
  return sequence(
    writeOid(oid),
    ...(critical === undefined ? [] : [critical]),
    writeDer(derTags.octetString, value),
  );
}

export function subjectAltName(altNames: readonly Uint8Array[]): Uint8Array {
  return extension(extensionIds.subjectAltName, sequence(...altNames));
}

export function attribute(oid: string, ...values: readonly Uint8Array[]): Uint8Array {
  return sequence(writeOid(oid), writeDer(0x31, ...values));
}

export function requestDer(parts: RequestParts = {}): Uint8Array<ArrayBuffer> {
  const {
    keys = ecKeys,
    algorithm = ecdsaSha256,
    version = 0,
    subject = nodeSubject('system:node:n1'),
    altNames = [dns('n1'), ip('10.100.0.2')],
    extensions = [subjectAltName(altNames)],
    attributes = [attribute(extensionRequest, sequence(...extensions))],
    publicKey = keys.publicKey.export({ format: 'der', type: 'spki' }),
    change = (info) => info,
  } = parts;
  const info = sequence(
    writeDer(derTags.integer, Uint8Array.of(version)),
    sequence(...subject.map((attributes) => writeDer(0x31, ...attributes.map(writeAttribute)))),
    publicKey,
    writeDer(0xa0, ...attributes),
  );
  const signed = change(info);
  const signature = sign(algorithm.hash, signed, {
    key: keys.privateKey,
    ...algorithm.options,
  });
  return writeSigned(signed, { algorithm: algorithm.encoded, signature });
}

function writeAttribute({ oid, value, tag = printableString }: Attribute): Uint8Array {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return sequence(writeOid(oid), writeDer(tag, bytes));
}

export function requestPem(parts: RequestParts = {}): Uint8Array<ArrayBuffer> {
  return pemOf(requestDer(parts));
}

export function pemOf(der: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodePem('CERTIFICATE REQUEST', der);
}
