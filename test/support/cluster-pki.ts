import { randomBytes } from 'node:crypto';
import type { Subject, Usage } from '../../src/core/certificate.ts';
import { day, minute } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import { usageExtensions, webcrypto, x509 } from '../../src/core/x509.ts';

/** The certificates of a control plane that lives for one test run. */
export interface KeyPair {
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

export interface ClusterCa extends KeyPair {
  issue(request: LeafRequest): Promise<KeyPair>;
  /** A certificate of this CA for the key of another CA, as PEM. Servers send it during a rollover. */
  bridgeTo(other: KeyPair): Promise<string>;
  /** A new certificate for the same name and key. */
  renew(): Promise<ClusterCa>;
}

export interface LeafRequest extends Subject {
  readonly usage: Extract<Usage, 'client auth' | 'server auth'>;
  readonly altNames?: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[];
  /** When it was issued; five minutes ago by default. */
  readonly notBefore?: Date;
  /** In ten days by default. */
  readonly notAfter?: Date;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface AuthorityOptions {
  readonly commonName?: string;
  /** When the CA was created. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export async function createClusterCa(options: AuthorityOptions = {}): Promise<ClusterCa> {
  return authorityWith(await newKeys(), options);
}

async function authorityWith(
  keys: CryptoKeyPair,
  { commonName = 'kubernetes', notBefore, notAfter }: AuthorityOptions,
): Promise<ClusterCa> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${commonName}`,
      keys,
      ...validity(),
      ...(notBefore !== undefined && { notBefore }),
      ...(notAfter !== undefined && { notAfter }),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        ...usageExtensions(['digital signature', 'key encipherment', 'cert sign']),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const issuer: Issuer = { certificate, key: keys.privateKey };
  return {
    ...(await toPem(certificate, keys)),
    issue: async (request) => issue(request, issuer),
    bridgeTo: async (other) => bridge(other, issuer),
    renew: async () => authorityWith(keys, { commonName }),
  };
}

interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

/** For service account tokens. */
export interface SigningKey {
  readonly publicPem: string;
  readonly privatePem: string;
}

export async function createSigningKey(): Promise<SigningKey> {
  const keys = await newKeys();
  const der = await webcrypto.subtle.exportKey('spki', keys.publicKey);
  return { publicPem: pem('PUBLIC KEY', der), privatePem: await keyPem(keys) };
}

async function issue(request: LeafRequest, issuer: Issuer): Promise<KeyPair> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: new x509.Name([
        ...request.organizations.map((name) => ({ O: [name] })),
        { CN: [request.commonName] },
      ]).toString(),
      issuer: issuer.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: issuer.key,
      serialNumber: newSerialNumber(),
      ...validity(),
      ...(request.notBefore !== undefined && { notBefore: request.notBefore }),
      ...(request.notAfter !== undefined && { notAfter: request.notAfter }),
      signingAlgorithm: algorithm,
      extensions: [
        ...usageExtensions(['digital signature', request.usage]),
        await keyIdentifierOf(issuer),
        ...(request.altNames === undefined
          ? []
          : [new x509.SubjectAlternativeNameExtension([...request.altNames])]),
      ],
    },
    webcrypto,
  );
  return toPem(certificate, keys);
}

async function bridge(other: KeyPair, issuer: Issuer): Promise<string> {
  const { subject, publicKey, extensions } = new x509.X509Certificate(other.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject,
      issuer: issuer.certificate.subject,
      publicKey,
      signingKey: issuer.key,
      serialNumber: newSerialNumber(),
      ...validity(),
      signingAlgorithm: algorithm,
      extensions: [...extensions, await keyIdentifierOf(issuer)],
    },
    webcrypto,
  );
  return pemOf(certificate);
}

/** As in the certificates of kubeadm: without it, OpenSSL cannot tell two CAs of one name apart. */
async function keyIdentifierOf({ certificate }: Issuer): Promise<x509.Extension> {
  return x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey, false, webcrypto);
}

/** The leading digits keep it positive, which Go insists on. */
function newSerialNumber(): string {
  return `01${randomBytes(8).toString('hex')}`;
}

function validity(): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 5 * minute), notAfter: new Date(now + 10 * day) };
}

async function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function toPem(certificate: x509.X509Certificate, keys: CryptoKeyPair): Promise<KeyPair> {
  return { certificatePem: pemOf(certificate), keyPem: await keyPem(keys) };
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

async function keyPem(keys: CryptoKeyPair): Promise<string> {
  return pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
}

function pem(label: string, der: ArrayBuffer): string {
  return Buffer.from(encodePem(label, new Uint8Array(der))).toString();
}
