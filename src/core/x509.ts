import './reflect-shim.ts';
import { Crypto } from '@peculiar/webcrypto';
import * as x509 from '@peculiar/x509';
import { canonicalAltNames } from './alt-names.ts';
import type { CertificateFacts, Subject, SubjectAltNames, Usage } from './certificate.ts';
import { isSameBytes } from './der.ts';
import { AgentError } from './errors.ts';
import { readValidity } from './validity.ts';

/**
 * Only this file imports @peculiar/x509 and @peculiar/webcrypto, so that all keys belong to one
 * crypto provider. A provider rejects the keys of other providers.
 */
export const webcrypto = new Crypto();

/** A crypto provider for @peculiar/x509. */
export type CryptoProvider = NonNullable<
  Parameters<typeof x509.Pkcs10CertificateRequestGenerator.create>[1]
>;

export { x509 };

export interface Certificate {
  readonly facts: CertificateFacts;
  readonly der: Uint8Array<ArrayBuffer>;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/**
 * Parses one certificate in DER. Caches the last few results, because the agent parses a new
 * certificate three times: when it is issued, before it is written, and when it is read back.
 * Parsing is the slowest part of each.
 * @throws AgentError CERT_MALFORMED
 */
export async function parseCertificate(der: Uint8Array<ArrayBuffer>): Promise<Certificate> {
  const known = recent.find((certificate) => isSameBytes(certificate.der, der));
  if (known !== undefined) return { ...known, der, publicKey: known.publicKey.slice() };
  const certificate = await readCertificate(der);
  // Copies, because the caller may change its arrays.
  recent.unshift({ ...certificate, der: der.slice(), publicKey: certificate.publicKey.slice() });
  recent.splice(mostRecent);
  return certificate;
}

const recent: Certificate[] = [];

/** The previous and the new leaf, and the CA of each. */
const mostRecent = 4;

/**
 * A kubelet without serverTLSBootstrap creates a serving certificate `NODE@SECONDS` and signs it
 * with its own CA `NODE-ca@SECONDS` (client-go, util/cert/cert.go). No client trusts that CA, so
 * the certificate counts as self-signed.
 */
function isCreatedByKubelet(commonName: string, issuer: string): boolean {
  const [, host] = /^(.+)@\d+$/.exec(commonName) ?? [];
  const [, authority] = /^CN=(.+)-ca@\d+$/.exec(issuer) ?? [];
  return host !== undefined && host === authority;
}

async function readCertificate(der: Uint8Array<ArrayBuffer>): Promise<Certificate> {
  try {
    const certificate = new x509.X509Certificate(der);
    rejectDuplicates(certificate.extensions);
    const subject = subjectOf(certificate);
    const issuer = rfc4514(certificate.issuerName);
    return {
      facts: {
        serial: certificate.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
        subject,
        issuer,
        ...altNamesOf(certificate),
        usages: usagesOf(certificate),
        ...readValidity(der),
        selfSigned:
          isCreatedByKubelet(subject.commonName, issuer) ||
          (await certificate.isSelfSigned(webcrypto)),
      },
      der,
      publicKey: new Uint8Array(certificate.publicKey.rawData),
    };
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate cannot be parsed', { cause: error });
  }
}

/**
 * RFC 5280 4.2 forbids duplicate extensions. Go rejects such a certificate, and other parsers
 * disagree about the SAN extension to use.
 */
function rejectDuplicates(extensions: readonly x509.Extension[]): void {
  const types = extensions.map(({ type }) => type);
  const duplicate = types.find((type, index) => types.indexOf(type) !== index);
  if (duplicate !== undefined) throw new Error(`the extension ${duplicate} occurs twice`);
}

export interface CertificateRequest extends SubjectAltNames {
  readonly subject: Subject;
  /** SANs that are neither DNS names nor IP addresses (e-mail, URI …), as `type:value`. */
  readonly otherNames: readonly string[];
  readonly der: Uint8Array<ArrayBuffer>;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** Proves that the requestor has the private key. */
  readonly signedByItsKey: boolean;
}

/** Parses a PKCS #10 request in DER. @throws AgentError CERT_MALFORMED */
export async function parseCertificateRequest(
  der: Uint8Array<ArrayBuffer>,
): Promise<CertificateRequest> {
  try {
    const request = new x509.Pkcs10CertificateRequest(der);
    return {
      subject: subjectOf(request),
      ...altNamesOf(request),
      der,
      publicKey: new Uint8Array(request.publicKey.rawData),
      signedByItsKey: await request.verify(webcrypto),
    };
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the certificate request cannot be parsed', {
      cause: error,
    });
  }
}

/**
 * True if `issuer` signed `certificate`. Checks the signature, because a new CA often has the
 * name of the previous one.
 * @throws AgentError CERT_MALFORMED if the signature is malformed or of an unknown kind
 */
export async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  const child = new x509.X509Certificate(certificate.der);
  const parent = new x509.X509Certificate(issuer.der);
  if (child.issuer !== parent.subject) return false;
  try {
    return await child.verify({ publicKey: parent.publicKey, signatureOnly: true }, webcrypto);
  } catch (error) {
    throw new AgentError('CERT_MALFORMED', 'the signature of a certificate cannot be checked', {
      cause: error,
    });
  }
}

/** RFC 4514 2.1: the last relative name comes first. The library keeps the order of the encoding. */
function rfc4514(name: x509.Name): string {
  const relative = name.toString().match(/(?:\\.|[^\\,])+/g) ?? [];
  return relative
    .map((part) => part.trimStart())
    .toReversed()
    .join(',');
}

type Named = x509.X509Certificate | x509.Pkcs10CertificateRequest;

function subjectOf(named: Named): Subject {
  return {
    // The last of several CNs counts, as in Go and therefore in the API server.
    commonName: named.subjectName.getField('CN').at(-1) ?? '',
    organizations: named.subjectName.getField('O'),
  };
}

function altNamesOf(
  named: Named,
): Pick<CertificateFacts, 'dnsNames' | 'ipAddresses' | 'otherNames'> {
  const names = [...named.extensions]
    .filter((extension) => extension instanceof x509.SubjectAlternativeNameExtension)
    .flatMap((extension) => extension.names.items);
  const of = (type: string): string[] =>
    names.filter((name) => name.type === type).map((name) => name.value);
  return {
    ...canonicalAltNames({ dnsNames: of('dns'), ipAddresses: of('ip') }),
    otherNames: names
      .filter((name) => name.type !== 'dns' && name.type !== 'ip')
      .map((name) => `${name.type}:${name.value}`),
  };
}

const keyUsageBits: readonly (readonly [x509.KeyUsageFlags, Usage])[] = [
  [x509.KeyUsageFlags.digitalSignature, 'digital signature'],
  [x509.KeyUsageFlags.nonRepudiation, 'content commitment'],
  [x509.KeyUsageFlags.keyEncipherment, 'key encipherment'],
  [x509.KeyUsageFlags.dataEncipherment, 'data encipherment'],
  [x509.KeyUsageFlags.keyAgreement, 'key agreement'],
  [x509.KeyUsageFlags.keyCertSign, 'cert sign'],
  [x509.KeyUsageFlags.cRLSign, 'crl sign'],
  [x509.KeyUsageFlags.encipherOnly, 'encipher only'],
  [x509.KeyUsageFlags.decipherOnly, 'decipher only'],
];

/** RFC 5280 4.2.1.12 and RFC 4945 (IPsec). */
const extendedKeyUsages: readonly (readonly [string, Usage])[] = [
  ['2.5.29.37.0', 'any'],
  ['1.3.6.1.5.5.7.3.1', 'server auth'],
  ['1.3.6.1.5.5.7.3.2', 'client auth'],
  ['1.3.6.1.5.5.7.3.3', 'code signing'],
  ['1.3.6.1.5.5.7.3.4', 'email protection'],
  ['1.3.6.1.5.5.7.3.5', 'ipsec end system'],
  ['1.3.6.1.5.5.7.3.6', 'ipsec tunnel'],
  ['1.3.6.1.5.5.7.3.7', 'ipsec user'],
  ['1.3.6.1.5.5.7.3.8', 'timestamping'],
  ['1.3.6.1.5.5.7.3.9', 'ocsp signing'],
];

function usagesOf(certificate: x509.X509Certificate): Usage[] {
  const flags = certificate.getExtension(x509.KeyUsagesExtension)?.usages ?? 0;
  const extended = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? [];
  return [
    ...keyUsageBits.filter(([bit]) => (flags & bit) !== 0).map(([, usage]) => usage),
    ...extendedKeyUsages
      .filter(([oid]) => extended.some((found) => String(found) === oid))
      .map(([, usage]) => usage),
  ];
}

/** The extensions to issue a certificate with these usages. */
export function usageExtensions(wanted: readonly Usage[]): x509.Extension[] {
  const bits = keyUsageBits.filter(([, usage]) => wanted.includes(usage)).map(([bit]) => bit);
  const oids = extendedKeyUsages.filter(([, usage]) => wanted.includes(usage)).map(([oid]) => oid);
  return [
    ...(bits.length === 0 ? [] : [new x509.KeyUsagesExtension(union(bits), true)]),
    ...(oids.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(oids)]),
  ];
}

function union(bits: readonly x509.KeyUsageFlags[]): x509.KeyUsageFlags {
  return bits.reduce((sum, bit) => sum | bit);
}
