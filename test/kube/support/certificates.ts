import type { Usage } from '../../../src/core/certificate.ts';
import { day } from '../../../src/core/instant.ts';
import { encodePem } from '../../../src/core/pem.ts';
import { usageExtensions, webcrypto, x509 } from '../../../src/core/x509.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface LeafOptions {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usages: readonly Usage[];
  readonly ips?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
}

export interface Authority {
  readonly pem: string;
  issue(options: LeafOptions): Promise<Pair>;
  /** A certificate for another CA: a bridge, or an intermediate CA. In PEM. */
  certifyAuthority(other: Pick<Authority, 'pem'>): Promise<string>;
  /**
   * Signs a certificate for a key that the caller has.
   * @param publicKey SubjectPublicKeyInfo in DER
   */
  certify(
    publicKey: Uint8Array<ArrayBuffer>,
    options: LeafOptions,
  ): Promise<Uint8Array<ArrayBuffer>>;
}

export interface AuthorityOptions {
  /** False leaves Subject and Authority Key Identifier out, which Go always sets. */
  readonly keyIds?: boolean;
  readonly notAfter?: number;
}

export async function makeAuthority(
  commonName: string,
  { keyIds = true, notAfter = Date.now() + day }: AuthorityOptions = {},
): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${commonName}`,
      keys,
      signingAlgorithm: algorithm,
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(notAfter),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        ...(keyIds
          ? [await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto)]
          : []),
      ],
    },
    webcrypto,
  );
  const certify: Authority['certify'] = async (publicKey, options) => {
    const { commonName, organizations = [] } = options;
    const leaf = await x509.X509CertificateGenerator.create(
      {
        subject: new x509.Name([
          ...organizations.map((value) => ({ O: [value] })),
          { CN: [commonName] },
        ]).toString(),
        issuer: root.subject,
        publicKey: new x509.PublicKey(publicKey),
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        notBefore: new Date(options.notBefore ?? Date.now() - day),
        notAfter: new Date(options.notAfter ?? Date.now() + day),
        extensions: [
          ...usageExtensions(options.usages),
          ...altNames(options),
          ...(keyIds
            ? [await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto)]
            : []),
        ],
      },
      webcrypto,
    );
    return encodePem('CERTIFICATE', new Uint8Array(leaf.rawData));
  };
  const certifyAuthority: Authority['certifyAuthority'] = async ({ pem }) => {
    const other = new x509.X509Certificate(pem);
    const certificate = await x509.X509CertificateGenerator.create(
      {
        subject: other.subject,
        issuer: root.subject,
        publicKey: other.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        notBefore: new Date(Date.now() - day),
        notAfter: new Date(Date.now() + day),
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          await x509.SubjectKeyIdentifierExtension.create(other.publicKey, false, webcrypto),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    );
    return text(encodePem('CERTIFICATE', new Uint8Array(certificate.rawData)));
  };
  return {
    pem: text(encodePem('CERTIFICATE', new Uint8Array(root.rawData))),
    certify,
    certifyAuthority,
    issue: async (options) => {
      const own = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const spki = await webcrypto.subtle.exportKey('spki', own.publicKey);
      const key = await webcrypto.subtle.exportKey('pkcs8', own.privateKey);
      return {
        cert: text(await certify(new Uint8Array(spki), options)),
        key: text(encodePem('PRIVATE KEY', new Uint8Array(key))),
      };
    },
  };
}

/** A self-signed serving certificate. */
export async function selfSigned(ip: string): Promise<Pair> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const leaf = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=alone',
      keys,
      signingAlgorithm: algorithm,
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + day),
      extensions: altNames({ ips: [ip] }),
    },
    webcrypto,
  );
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    cert: text(encodePem('CERTIFICATE', new Uint8Array(leaf.rawData))),
    key: text(encodePem('PRIVATE KEY', new Uint8Array(key))),
  };
}

function altNames({
  ips = [],
  dnsNames = [],
}: Pick<LeafOptions, 'ips' | 'dnsNames'>): x509.Extension[] {
  const names = [
    ...ips.map((value) => ({ type: 'ip' as const, value })),
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
  ];
  return names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)];
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
