import { kubeletClientSigner } from '../../../src/core/certificate-spec.ts';
import type { Usage } from '../../../src/core/certificate.ts';
import { day, hour, minute } from '../../../src/core/instant.ts';
import { webcrypto, x509 } from '../../../src/core/x509.ts';
import { CertificateAuthority } from '../../sandbox/ca.ts';
import type { Leaf } from '../../sandbox/ca.ts';
import type { KeyPair } from '../../support/cluster-pki.ts';

/** The errors of the signer. */
export type Forgery =
  | 'other-key'
  | 'other-subject'
  | 'no-alt-names'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-usages'
  | 'wrong-ca'
  | 'two-leaves'
  | 'garbage';

/** How far in the agent's future a not-yet-valid certificate begins. */
export const beginsIn = 5 * minute;

export interface ForgedRequest {
  /** PKCS #10 as PEM. */
  readonly request: string;
  readonly signerName: string;
  /** The time of the agent's clock. */
  readonly now: number;
}

/**
 * A CA that the nodes trust, and another one that they do not. Both can sign
 * certificates with errors.
 */
export class Issuer {
  readonly #known: CertificateAuthority;
  readonly #stranger: CertificateAuthority;

  private constructor(known: CertificateAuthority, stranger: CertificateAuthority) {
    this.#known = known;
    this.#stranger = stranger;
  }

  static async create(): Promise<Issuer> {
    const root = { now: Date.now() - 60 * day, lifetimeMs: 365 * day };
    const [known, stranger] = await Promise.all([
      CertificateAuthority.create({ ...root, commonName: 'fault-ca' }),
      CertificateAuthority.create({ ...root, commonName: 'stranger-ca' }),
    ]);
    return new Issuer(known, stranger);
  }

  get caPem(): string {
    return this.#known.pem;
  }

  /** Issues a serving certificate for loopback. */
  async serving(by: 'known' | 'stranger'): Promise<KeyPair> {
    const ca = by === 'known' ? this.#known : this.#stranger;
    const pair = await ca.issuePair({
      subject: new x509.Name([{ CN: ['fault-proxy'] }]),
      usages: ['digital signature', 'server auth'],
      altNames: [new x509.GeneralName('ip', '127.0.0.1')],
    });
    return { certificatePem: pair.certificate, keyPem: pair.key };
  }

  /** Issues a node's client certificate for thirty days, dated back. */
  async client(nodeName: string, age: number): Promise<KeyPair> {
    const keys = await newKeys();
    const leaf = await this.#known.sign({
      subject: nodeSubject(nodeName),
      publicKey: await x509.PublicKey.create(keys.publicKey, webcrypto),
      usages: clientUsages,
      altNames: [],
      validity: { notBefore: Date.now() - age, notAfter: Date.now() - age + 30 * day },
    });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`;
    return { certificatePem: leaf, keyPem: key };
  }

  /** Returns a CSR with the same content and another key, as PEM. */
  async sameRequest(request: string): Promise<string> {
    const { subjectName, extensions } = new x509.Pkcs10CertificateRequest(request);
    const made = await x509.Pkcs10CertificateRequestGenerator.create(
      { name: subjectName, extensions, keys: await newKeys(), signingAlgorithm },
      webcrypto,
    );
    return made.toString('pem');
  }

  /** Issues a certificate with one error, as PEM. */
  async forge(forgery: Forgery, { request, signerName, now }: ForgedRequest): Promise<string> {
    const csr = new x509.Pkcs10CertificateRequest(request);
    const good = await leafOf(csr, signerName, now);
    const sign = (changes: Partial<Leaf>): Promise<string> =>
      this.#known.sign({ ...good, ...changes });
    switch (forgery) {
      case 'other-key':
        return sign({ publicKey: await newPublicKey() });
      case 'other-subject':
        return sign({ subject: nodeSubject('other-node') });
      case 'no-alt-names':
        return sign({ altNames: [] });
      case 'expired':
        return sign({ validity: { notBefore: now - day, notAfter: now - hour } });
      case 'not-yet-valid':
        return sign({ validity: { notBefore: now + beginsIn, notAfter: now + 10 * day } });
      case 'wrong-usages':
        return sign({ usages: ['digital signature', 'code signing'] });
      case 'wrong-ca':
        return this.#stranger.sign(good);
      case 'two-leaves':
        return `${await sign({})}${await sign({ subject: nodeSubject('other-node') })}`;
      case 'garbage':
        return '-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n';
      default:
        return forgery satisfies never;
    }
  }
}

const clientUsages: readonly Usage[] = ['digital signature', 'client auth'];

async function leafOf(
  csr: x509.Pkcs10CertificateRequest,
  signerName: string,
  now: number,
): Promise<Leaf> {
  const usage = signerName === kubeletClientSigner ? 'client auth' : 'server auth';
  const names = csr.extensions.find(
    (extension) => extension instanceof x509.SubjectAlternativeNameExtension,
  );
  return {
    subject: csr.subjectName,
    publicKey: csr.publicKey,
    usages: ['digital signature', usage],
    altNames: names?.names.items ?? [],
    validity: { notBefore: now - 5 * minute, notAfter: now + 10 * day },
  };
}

function nodeSubject(nodeName: string): x509.Name {
  return new x509.Name([{ O: ['system:nodes'] }, { CN: [`system:node:${nodeName}`] }]);
}

async function newPublicKey(): Promise<x509.PublicKey> {
  return x509.PublicKey.create((await newKeys()).publicKey, webcrypto);
}

const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify']);
}
