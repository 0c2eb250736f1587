import { execFileSync } from 'node:child_process';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { StoreConfig } from '../../src/core/config.ts';
import { day } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import { Secret } from '../../src/core/secret.ts';
import { webcrypto, x509 } from '../../src/core/x509.ts';

/** The current time in tests. */
export const present = Date.UTC(2026, 5, 1, 12, 0, 0);

export const storeConfig: StoreConfig = {
  previousPairs: 2,
  relativeLinks: false,
  acceptVolatileDirectory: true,
};

export interface TestPair {
  readonly serial: string;
  /** Leaf and key in one file, as the kubelet writes them. */
  readonly pem: Buffer;
  readonly certificatePem: Buffer;
  readonly keyPem: Buffer;
  readonly leaf: Uint8Array<ArrayBuffer>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const authorityKeys = webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
let serials = 0x1000;

/** A key pair issued by a temporary CA, or self-signed. */
export async function makePair(
  options: {
    readonly notBefore?: number;
    readonly notAfter?: number;
    readonly selfSigned?: boolean;
  } = {},
): Promise<TestPair> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const authority = options.selfSigned === true ? keys : await authorityKeys;
  serials += 1;
  const serial = serials.toString(16);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial,
      subject: 'O=system:nodes, CN=system:node:n1',
      issuer: options.selfSigned === true ? 'O=system:nodes, CN=system:node:n1' : 'CN=authority',
      notBefore: new Date(options.notBefore ?? present - day),
      notAfter: new Date(options.notAfter ?? present + 30 * day),
      publicKey: keys.publicKey,
      signingKey: authority.privateKey,
      signingAlgorithm: algorithm,
    },
    webcrypto,
  );
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const sec1 = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({
    format: 'der',
    type: 'sec1',
  });
  const leaf = new Uint8Array(certificate.rawData);
  const certificatePem = Buffer.from(encodePem('CERTIFICATE', leaf));
  const keyPem = Buffer.from(encodePem('EC PRIVATE KEY', sec1));
  return { serial, leaf, certificatePem, keyPem, pem: Buffer.concat([certificatePem, keyPem]) };
}

/** A copy for the store; the original stays for comparison. */
export function secretOf(pair: TestPair): Secret {
  return new Secret(new Uint8Array(pair.pem));
}

/** A key pair made by openssl, with its choice of key format and PEM labels. */
export function opensslPair(newKey: readonly string[]): { certificate: Buffer; key: Buffer } {
  const output = execFileSync(
    'openssl',
    ['req', '-x509', '-nodes', '-newkey', ...newKey, '-subj', '/CN=openssl', '-keyout', '-'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  ).toString();
  const at = output.indexOf('-----BEGIN CERTIFICATE');
  return { certificate: Buffer.from(output.slice(at)), key: Buffer.from(output.slice(0, at)) };
}

/** Removed when the test ends. */
export async function temporaryDirectory(context: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-store-'));
  context.after(async () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Throws unless the bytes are one whole, matching key pair. Returns its serial. */
export function requireWholePair(bytes: Buffer): string {
  const certificate = new X509Certificate(bytes);
  const key = createPrivateKey(bytes);
  if (!certificate.checkPrivateKey(key)) throw new Error('certificate and key do not match');
  return certificate.serialNumber.toLowerCase();
}
