import { derTags } from '../../core/der.ts';
import { DerError, DerReader } from '../../core/der-reader.ts';
import type { Instant } from '../../core/instant.ts';

/** What an inventory shows of a certificate that is not a CA. */
export interface UsualCertificate {
  readonly serial: string;
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

/**
 * Reads a certificate in the form that nearly every CA issues: version 3, a common algorithm,
 * names of printable ASCII characters. Undefined for a CA and for any other form, which OpenSSL
 * has to read. Takes a fifth of the time of node:crypto, whose objects also burden the garbage
 * collector.
 */
export function usualCertificate(der: Uint8Array): UsualCertificate | undefined {
  try {
    return read(new DerReader(der));
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

function read(whole: DerReader): UsualCertificate {
  const certificate = whole.inside();
  whole.finish();
  const signed = certificate.inside();
  readAlgorithm(certificate);
  readBits(certificate);
  certificate.finish();

  require(signed.content(tags.version).toHex() === version3);
  const serial = serialOf(signed.content(derTags.integer));
  readAlgorithm(signed);
  const issuer = nameOf(signed.inside());
  const validity = signed.inside();
  const notBefore = timeOf(validity);
  const notAfter = timeOf(validity);
  validity.finish();
  const subject = nameOf(signed.inside());
  const key = signed.inside();
  readAlgorithm(key);
  readBits(key);
  key.finish();
  if (!signed.isAtEnd) readExtensions(signed.inside(tags.extensions));
  signed.finish();
  return { serial, subject, issuer, notBefore, notAfter };
}

const tags = {
  boolean: 0x01,
  oid: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
} as const;

const version3 = '020102';

function require(isUsual: boolean): void {
  if (!isUsual) throw new DerError('a certificate in another form');
}

/** Without leading zeros, as OpenSSL's text of a positive number. */
function serialOf(content: Uint8Array): string {
  const [first = 0xff, second = 0] = content;
  require(first < 0x80 && (content.length === 1 || first > 0 || second >= 0x80));
  return content.toHex().replace(/^0+(?=.)/, '');
}

function readAlgorithm(reader: DerReader): void {
  require(algorithms.has(reader.encoded().toHex()));
}

/** Each AlgorithmIdentifier with its parameters (RFC 3279, 5480, 8410). */
const algorithms: ReadonlySet<string> = new Set([
  '300d06092a864886f70d0101010500', // rsaEncryption
  '300d06092a864886f70d01010b0500', // sha256WithRSAEncryption
  '300d06092a864886f70d01010c0500', // sha384WithRSAEncryption
  '300d06092a864886f70d01010d0500', // sha512WithRSAEncryption
  '301306072a8648ce3d020106082a8648ce3d030107', // P-256
  '301006072a8648ce3d020106052b81040022', // P-384
  '301006072a8648ce3d020106052b81040023', // P-521
  '300a06082a8648ce3d040302', // ecdsa-with-SHA256
  '300a06082a8648ce3d040303', // ecdsa-with-SHA384
  '300a06082a8648ce3d040304', // ecdsa-with-SHA512
  '300506032b6570', // Ed25519
]);

/** A BIT STRING of whole bytes. */
function readBits(reader: DerReader): void {
  require(reader.content(derTags.bitString)[0] === 0);
}

/** The relative names in the order of RFC 4514: the last one first. */
function nameOf(name: DerReader): string {
  let text = '';
  while (!name.isAtEnd) {
    const relative = name.inside(tags.set);
    const attribute = relative.inside();
    relative.finish();
    const type = attributeTypes.get(attribute.content(tags.oid).toHex());
    const value = decoder.decode(
      attribute.content(attribute.hasNext(tags.utf8) ? tags.utf8 : tags.printable),
    );
    attribute.finish();
    require(type !== undefined && plainText.test(value));
    text = text === '' ? `${type}=${value}` : `${type}=${value},${text}`;
  }
  require(text.length <= longestName);
  return text;
}

const decoder = new TextDecoder();

const attributeTypes: ReadonlyMap<string, string> = new Map([
  ['550403', 'CN'],
  ['550406', 'C'],
  ['550407', 'L'],
  ['550408', 'ST'],
  ['55040a', 'O'],
  ['55040b', 'OU'],
]);

/** Text that RFC 4514 does not escape, with single spaces. */
const plainText = /^[\w.:@/*'()&=?!~-]+(?: [\w.:@/*'()&=?!~-]+)*$/;

/** OpenSSL truncates the text of longer names. */
const longestName = 1000;

/** UTCTime or GeneralizedTime in the form of RFC 5280 4.1.2.5. */
function timeOf(reader: DerReader): Instant {
  const isShort = reader.hasNext(derTags.utcTime);
  const digits = reader.content(isShort ? derTags.utcTime : derTags.generalizedTime);
  require(digits.length === (isShort ? 13 : 15) && digits.at(-1) === 0x5a);
  const years = pairAt(digits, digits.length - 13);
  const century = isShort ? (years < 50 ? 20 : 19) : pairAt(digits, 0);
  const month = pairAt(digits, digits.length - 11);
  const day = pairAt(digits, digits.length - 9);
  const hour = pairAt(digits, digits.length - 7);
  const minute = pairAt(digits, digits.length - 5);
  const second = pairAt(digits, digits.length - 3);
  const time = Date.UTC(century * 100 + years, month - 1, day, hour, minute, second);
  require(century > 0 && month > 0 && month <= 12 && hour < 24 && minute < 60 && second < 60);
  // Date.UTC() takes February 30 as March 1.
  require(new Date(time).getUTCDate() === day);
  return time;
}

function pairAt(digits: Uint8Array, at: number): number {
  const [tens = 0, ones = 0] = [digits[at], digits[at + 1]];
  require(tens >= 0x30 && tens <= 0x39 && ones >= 0x30 && ones <= 0x39);
  return (tens - 0x30) * 10 + ones - 0x30;
}

/** Known only as OIDs, except for the extension that makes a certificate a CA. */
function readExtensions(reader: DerReader): void {
  const list = reader.inside();
  reader.finish();
  while (!list.isAtEnd) {
    const extension = list.inside();
    const oid = extension.content(tags.oid);
    // With the high bit, a number of the OID has several bytes.
    require(oid.length > 0 && oid.every((byte) => byte < 0x80));
    if (extension.hasNext(tags.boolean)) {
      require(extension.encoded(tags.boolean).toHex() === critical);
    }
    const value = extension.content(derTags.octetString);
    extension.finish();
    require(oid.toHex() !== basicConstraints || value.toHex() === noCa);
  }
}

const critical = '0101ff';
const basicConstraints = '551d13';
const noCa = '3000';
