import { randomBytes } from 'node:crypto';
import type { Usage } from '../../src/core/certificate.ts';
import type { Instant } from '../../src/core/instant.ts';
import { minute } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import { usageExtensions, webcrypto, x509 } from '../../src/core/x509.ts';

export interface Validity {
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

export interface Leaf {
  readonly subject: x509.Name;
  readonly publicKey: x509.PublicKey;
  readonly usages: readonly Usage[];
  readonly altNames: readonly x509.GeneralName[];
  readonly validity: Validity;
}

export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

export interface RootOptions {
  readonly commonName: string;
  readonly now: Instant;
  readonly lifetimeMs: number;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/**
 * The sandbox's CA. It signs the certificates of the server and the administrator, and
 * those of the signer. Its key exists in this object only.
 */
export class CertificateAuthority {
  readonly certificate: x509.X509Certificate;
  readonly #key: CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: CryptoKey) {
    this.certificate = certificate;
    this.#key = key;
  }

  static async create({ commonName, now, lifetimeMs }: RootOptions): Promise<CertificateAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: randomSerial(),
        name: new x509.Name([{ CN: [commonName] }]),
        // Backdated like the certificates it signs, which would otherwise be older than
        // their CA.
        notBefore: new Date(now - 5 * minute),
        notAfter: new Date(now + lifetimeMs),
        keys,
        signingAlgorithm: algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          ...usageExtensions(['digital signature', 'cert sign', 'crl sign']),
          await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    );
    return new CertificateAuthority(certificate, keys.privateKey);
  }

  get pem(): string {
    return toPem('CERTIFICATE', this.certificate.rawData);
  }

  get notAfter(): Instant {
    return this.certificate.notAfter.getTime();
  }

  /** Signs a leaf and returns it as PEM. */
  async sign(leaf: Leaf): Promise<string> {
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: randomSerial(),
        subject: leaf.subject,
        issuer: this.certificate.subjectName,
        notBefore: new Date(leaf.validity.notBefore),
        notAfter: new Date(leaf.validity.notAfter),
        publicKey: leaf.publicKey,
        signingKey: this.#key,
        signingAlgorithm: algorithm,
        extensions: [
          ...usageExtensions(leaf.usages),
          new x509.BasicConstraintsExtension(false, undefined, true),
          await x509.AuthorityKeyIdentifierExtension.create(
            this.certificate.publicKey,
            false,
            webcrypto,
          ),
          ...(leaf.altNames.length === 0
            ? []
            : [new x509.SubjectAlternativeNameExtension(leaf.altNames.map(toJson))]),
        ],
      },
      webcrypto,
    );
    return toPem('CERTIFICATE', certificate.rawData);
  }

  /**
   * Generates a key and issues a certificate that lives as long as the CA, for the
   * sandbox's server and administrator.
   */
  async issuePair(leaf: Omit<Leaf, 'publicKey' | 'validity'>): Promise<PemPair> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await this.sign({
      ...leaf,
      publicKey: await x509.PublicKey.create(keys.publicKey, webcrypto),
      validity: {
        notBefore: this.certificate.notBefore.getTime(),
        notAfter: this.certificate.notAfter.getTime(),
      },
    });
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { certificate, key: toPem('PRIVATE KEY', pkcs8) };
  }
}

/**
 * The CA/Browser baseline requires at least 64 random bits. The top bit is clear, so
 * the number is positive.
 */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function toJson(name: x509.GeneralName): x509.JsonGeneralName {
  return name.toJSON();
}

function toPem(label: string, der: ArrayBuffer): string {
  return Buffer.from(encodePem(label, new Uint8Array(der))).toString('latin1');
}
