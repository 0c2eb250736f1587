import type { DerValue } from './der.ts';
import { contentOf, derTags, isSameBytes, readDer, writeDer } from './der.ts';
import { AgentError } from './errors.ts';
import type { Instant } from './instant.ts';

/**
 * A certificate as the DER of its fields. A copy made of these fields keeps every byte, while
 * @peculiar/x509 encodes names and extensions again: it loses the order of a multi-valued RDN
 * and cannot write every kind of string.
 */
export interface CertificateParts {
  /** The content of the INTEGER. */
  readonly serial: Uint8Array;
  /** These three with tag and length. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  /** In the order of the certificate. */
  readonly extensions: readonly RawExtension[];
}

export interface RawExtension {
  /** As in `2.5.29.17`. */
  readonly oid: string;
  readonly critical: boolean;
  /** The content of the OCTET STRING: the extension itself in DER. */
  readonly value: Uint8Array;
  readonly encoded: Uint8Array;
}

export const extensionIds = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

const oidTag = 0x06;
const versionTag = 0xa0;
const extensionsTag = 0xa3;

/** @throws AgentError CERT_MALFORMED */
export function readParts(certificate: Uint8Array): CertificateParts {
  return parsing(() => {
    const [toBeSigned] = readDer(contentOf(readDer(certificate)[0]));
    const fields = readDer(contentOf(toBeSigned));
    // Certificates of version 1 have no version field.
    if (fields[0]?.tag === versionTag) fields.shift();
    const [serial, , issuer, , subject, publicKey, ...rest] = fields;
    const extensions = rest.find(({ tag }) => tag === extensionsTag);
    return {
      serial: contentOf(serial),
      issuer: encodingOf(issuer),
      subject: encodingOf(subject),
      publicKey: encodingOf(publicKey),
      extensions: extensions === undefined ? [] : extensionsIn(extensions),
    };
  });
}

/** @throws AgentError CERT_MALFORMED */
function parsing<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate cannot be parsed', { cause: error });
  }
}

function extensionsIn(value: DerValue): RawExtension[] {
  return readDer(contentOf(readDer(value.content)[0])).map(({ content, encoded }) => {
    const fields = readDer(content);
    const last = fields.at(-1);
    if (last?.tag !== derTags.octetString) throw new Error('an extension has no value');
    const critical = fields.length === 3 && fields[1]?.content[0] === 0xff;
    return { oid: oidOf(contentOf(fields[0])), critical, value: last.content, encoded };
  });
}

export function extensionOf(
  { extensions }: Pick<CertificateParts, 'extensions'>,
  oid: string,
): RawExtension | undefined {
  return extensions.find((extension) => extension.oid === oid);
}

/** An extension that is not critical. */
export function writeExtension(oid: string, value: Uint8Array): Uint8Array {
  return writeDer(derTags.sequence, writeOid(oid), writeDer(derTags.octetString, value));
}

/** An extension that a program rejects if it does not know it. */
export function writeCriticalExtension(oid: string, value: Uint8Array): Uint8Array {
  const critical = writeDer(booleanTag, Uint8Array.of(0xff));
  return writeDer(derTags.sequence, writeOid(oid), critical, writeDer(derTags.octetString, value));
}

/** A name that has nothing but a common name. */
export function writeCommonName(name: string): Uint8Array {
  const text = writeDer(utf8StringTag, new TextEncoder().encode(name));
  const attribute = writeDer(derTags.sequence, writeOid(commonName), text);
  return writeDer(derTags.sequence, writeDer(setTag, attribute));
}

const commonName = '2.5.4.3';
const booleanTag = 0x01;
const utf8StringTag = 0x0c;
const setTag = 0x31;

/** An OBJECT IDENTIFIER with tag and length. */
export function writeOid(oid: string): Uint8Array<ArrayBuffer> {
  return writeDer(oidTag, oidBytes(oid));
}

/** X.690 8.19: seven bits in each byte, and the first two numbers in one. */
export function oidOf(content: Uint8Array): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [both = 0, ...rest] = numbers;
  const first = Math.min(Math.floor(both / 40), 2);
  return [first, both - first * 40, ...rest].join('.');
}

function oidBytes(oid: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = oid.split('.').map(Number);
  return Uint8Array.from([first * 40 + second, ...rest].flatMap(base128));
}

function base128(number: number): number[] {
  const low = number % 128;
  const high = Math.floor(number / 128);
  return high === 0 ? [low] : [...base128(high).map((byte) => byte | 0x80), low];
}

/** RFC 5280 4.2.1.9. A certificate without this extension is no CA. */
export function basicConstraints(parts: Pick<CertificateParts, 'extensions'>): {
  readonly isCa: boolean;
  /** The largest number of intermediate CAs below this one. */
  readonly pathLength?: number;
} {
  const extension = extensionOf(parts, extensionIds.basicConstraints);
  if (extension === undefined) return { isCa: false };
  const fields = readDer(contentOf(readDer(extension.value)[0]));
  const isCa = fields[0]?.tag === 0x01 && fields[0].content[0] === 0xff;
  const length = fields.find(({ tag }) => tag === derTags.integer);
  if (length === undefined) return { isCa };
  return { isCa, pathLength: length.content.reduce((sum, byte) => sum * 256 + byte, 0) };
}

/** RFC 5280 4.2.1.3: true if there is no key usage extension, or it allows signing certificates. */
export function maySignCertificates(parts: Pick<CertificateParts, 'extensions'>): boolean {
  const extension = extensionOf(parts, extensionIds.keyUsage);
  if (extension === undefined) return true;
  const [, bits = 0] = contentOf(readDer(extension.value)[0]);
  return (bits & 0x04) !== 0;
}

/**
 * The OIDs of the extended key usage (RFC 5280 4.2.1.12), sorted; undefined without this extension.
 * @throws AgentError CERT_MALFORMED
 */
export function keyPurposes(parts: Pick<CertificateParts, 'extensions'>): string[] | undefined {
  const extension = extensionOf(parts, extensionIds.extendedKeyUsage);
  if (extension === undefined) return undefined;
  const purposes = parsing(() => readDer(contentOf(readDer(extension.value)[0])));
  return purposes.map(({ content }) => oidOf(content)).sort();
}

/** The key itself, without its algorithm: the content of the BIT STRING, over which key identifiers are computed. */
export function publicKeyBits({ publicKey }: Pick<CertificateParts, 'publicKey'>): Uint8Array {
  const [, bits] = readDer(contentOf(readDer(publicKey)[0]));
  // The first byte counts the unused bits at the end.
  return contentOf(bits).subarray(1);
}

/** The key identifier of the certificate, from its own extension. */
export function subjectKeyIdentifier(
  parts: Pick<CertificateParts, 'extensions'>,
): Uint8Array | undefined {
  const extension = extensionOf(parts, extensionIds.subjectKeyIdentifier);
  return extension && contentOf(readDer(extension.value)[0]);
}

/** The SANs, each in DER. @throws AgentError CERT_MALFORMED */
export function altNames({ value }: Pick<RawExtension, 'value'>): Uint8Array[] {
  const names = parsing(() => readDer(contentOf(readDer(value)[0])));
  return names.map(({ encoded }) => encoded);
}

/** The extension without repeated SANs, or the extension itself if there are none (kubernetes/kubeadm#2260). */
export function withoutRepeatedNames(extension: RawExtension): Uint8Array {
  const names = altNames(extension);
  const unique = names.filter(
    (name, index) => names.findIndex((other) => isSameBytes(other, name)) === index,
  );
  if (unique.length === names.length) return extension.encoded;
  const value = writeDer(derTags.octetString, writeDer(derTags.sequence, ...unique));
  const head = readDer(contentOf(readDer(extension.encoded)[0])).slice(0, -1);
  return writeDer(derTags.sequence, ...head.map(({ encoded }) => encoded), value);
}

/** The fields of a new certificate. The algorithm is an AlgorithmIdentifier in DER. */
export interface NewCertificate {
  readonly serial: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  /** Each with tag and length. */
  readonly extensions: readonly Uint8Array[];
}

/** TBSCertificate, the part that the CA signs (RFC 5280 4.1). */
export function writeToBeSigned(certificate: NewCertificate): Uint8Array<ArrayBuffer> {
  const { serial, algorithm, issuer, notBefore, notAfter, subject, publicKey, extensions } =
    certificate;
  const version3 = writeDer(versionTag, writeDer(derTags.integer, Uint8Array.of(2)));
  return writeDer(
    derTags.sequence,
    version3,
    writeDer(derTags.integer, serial),
    algorithm,
    issuer,
    writeDer(derTags.sequence, writeTime(notBefore), writeTime(notAfter)),
    subject,
    publicKey,
    ...(extensions.length === 0
      ? []
      : [writeDer(extensionsTag, writeDer(derTags.sequence, ...extensions))]),
  );
}

/** A certificate or a CSR: what was signed, the algorithm, and the signature. */
export function writeSigned(
  toBeSigned: Uint8Array,
  { algorithm, signature }: { readonly algorithm: Uint8Array; readonly signature: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const bits = writeDer(derTags.bitString, Uint8Array.of(0), signature);
  return writeDer(derTags.sequence, toBeSigned, algorithm, bits);
}

/** RFC 5280 4.1.2.5: UTCTime until 2049. */
function writeTime(instant: Instant): Uint8Array {
  const text = new Date(instant).toISOString().replace(/\.\d+|[-:T]/g, '');
  const isLate = text >= '2050';
  const ascii = Uint8Array.from(isLate ? text : text.slice(2), (digit) => digit.charCodeAt(0));
  return writeDer(isLate ? derTags.generalizedTime : derTags.utcTime, ascii);
}

function encodingOf(value: DerValue | undefined): Uint8Array {
  if (value === undefined) throw new Error('a field of the certificate is missing');
  return value.encoded;
}
