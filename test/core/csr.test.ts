import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { keyAlgorithms } from '../../src/core/certificate-spec.ts';
import type { CertificateTemplate, KeyAlgorithm } from '../../src/core/certificate-spec.ts';
import { createCsr, keyParameters } from '../../src/core/csr.ts';
import { encodePem } from '../../src/core/pem.ts';
import { parseCertificateRequest, webcrypto } from '../../src/core/x509.ts';
import { clientTemplate, servingTemplate } from './fixtures.ts';
import { openssl } from './openssl.ts';

/** How OpenSSL names the key and the signature of a request. */
const algorithms: Readonly<Record<KeyAlgorithm, readonly [key: RegExp, signature: string]>> = {
  'ecdsa-p256': [/NIST CURVE: P-256/, 'ecdsa-with-SHA256'],
  'ecdsa-p384': [/NIST CURVE: P-384/, 'ecdsa-with-SHA384'],
  'rsa-2048': [/Public-Key: \(2048 bit\)/, 'sha256WithRSAEncryption'],
  'rsa-3072': [/Public-Key: \(3072 bit\)/, 'sha256WithRSAEncryption'],
  'rsa-4096': [/Public-Key: \(4096 bit\)/, 'sha256WithRSAEncryption'],
  ed25519: [/ED25519 Public-Key/, 'ED25519'],
};

async function keysFor(algorithm: KeyAlgorithm): Promise<CryptoKeyPair> {
  const { generate } = keyParameters[algorithm];
  const keys = await webcrypto.subtle.generateKey(generate, true, ['sign', 'verify']);
  assert.ok('privateKey' in keys);
  return keys;
}

const shared = await keysFor('ecdsa-p256');

async function request(
  changes: Partial<CertificateTemplate>,
  keys = shared,
): Promise<Uint8Array<ArrayBuffer>> {
  return createCsr({ ...servingTemplate, ...changes }, keys);
}

/** `openssl req -verify` fails unless the request is signed by its own key. */
function shown(der: Uint8Array): string {
  return openssl(['req', '-verify', '-noout', '-text'], encodePem('CERTIFICATE REQUEST', der));
}

/** The subject as tags and values in the order of the encoding. */
function subjectOf(der: Uint8Array): string[] {
  const lines = openssl(['asn1parse', '-inform', 'DER'], der).split('\n');
  const values = lines.map((line) =>
    /prim: +(OBJECT|PRINTABLESTRING|UTF8STRING) +:(.*)$/.exec(line),
  );
  const found = values.flatMap((match) => (match === null ? [] : [`${match[1]} ${match[2]}`]));
  return found.slice(
    0,
    found.findIndex((entry) => /id-ecPublicKey/.test(entry)),
  );
}

describe('createCsr()', () => {
  for (const algorithm of keyAlgorithms) {
    it(`creates a request that OpenSSL verifies for ${algorithm}`, async () => {
      const text = shown(await request({ key: algorithm }, await keysFor(algorithm)));
      const [key, signature] = algorithms[algorithm];
      assert.match(text, key);
      assert.match(text, new RegExp(`Signature Algorithm: ${signature}`));
      assert.match(text, /Version: 1 \(0x0\)/);
    });
  }

  it('writes O before CN, both as PrintableString, as Go does', async () => {
    assert.deepEqual(subjectOf(await request({})), [
      'OBJECT organizationName',
      'PRINTABLESTRING system:nodes',
      'OBJECT commonName',
      'PRINTABLESTRING system:node:worker-1',
    ]);
  });

  it('writes UTF8String for other characters, as Go does', async () => {
    const subject = { commonName: 'node_1@é', organizations: ['a*b'] };
    const found = subjectOf(await request({ subject })).filter(
      (entry) => !entry.startsWith('OBJECT'),
    );
    assert.deepEqual(
      found.map((entry) => entry.split(' ')[0]),
      ['UTF8STRING', 'UTF8STRING'],
    );
  });

  it('keeps every organization, in order', async () => {
    const subject = { commonName: 'x', organizations: ['b', 'a'] };
    const found = await parseCertificateRequest(await request({ subject }));
    assert.deepEqual(found.subject, subject);
  });

  it('keeps special characters of RFC 4514 in names', async () => {
    const subject = { commonName: 'a,b=c+"d"\\e;<f>', organizations: [' #x ', '#0402', '"q"'] };
    const found = await parseCertificateRequest(await request({ subject }));
    assert.deepEqual(found.subject, subject);
  });

  it('has the SANs as its only extension, DNS names first', async () => {
    const names = { dnsNames: ['a.example', 'worker-1'], ipAddresses: ['10.0.0.1', 'fd00::1'] };
    const text = shown(await request(names));
    const san = 'DNS:a.example, DNS:worker-1, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1';
    assert.match(
      text,
      new RegExp(`Requested Extensions:\\s+X509v3 Subject Alternative Name: \\n\\s+${san}`),
    );
    assert.equal(text.match(/X509v3/g)?.length, 1);
    assert.doesNotMatch(text, /critical/);
  });

  it('has no extension without SANs, like the client CSR of the kubelet', async () => {
    const der = await createCsr(clientTemplate, shared);
    assert.doesNotMatch(openssl(['asn1parse', '-inform', 'DER'], der), /Extension Request/);
    const text = shown(der);
    assert.doesNotMatch(text, /X509v3/);
    assert.match(text, /Subject: O = system:nodes, CN = system:node:worker-1/);
  });
});

describe('keyParameters', () => {
  it('are at least those of client-go: RSA with 2048 bits, curves with 256', () => {
    for (const algorithm of keyAlgorithms) {
      const { generate } = keyParameters[algorithm];
      if ('modulusLength' in generate) assert.ok(generate.modulusLength >= 2048, algorithm);
      else if ('namedCurve' in generate) assert.match(generate.namedCurve, /^P-(256|384|521)$/);
      else assert.equal(generate.name, 'Ed25519');
    }
  });

  /** keyutil.MarshalPrivateKeyToPEM of client-go; Go has no older form for Ed25519 than PKCS #8. */
  const headers: Readonly<Record<KeyAlgorithm, string>> = {
    'ecdsa-p256': 'EC PRIVATE KEY',
    'ecdsa-p384': 'EC PRIVATE KEY',
    'rsa-2048': 'RSA PRIVATE KEY',
    'rsa-3072': 'RSA PRIVATE KEY',
    'rsa-4096': 'RSA PRIVATE KEY',
    ed25519: 'PRIVATE KEY',
  };
  for (const algorithm of keyAlgorithms) {
    it(`has the PEM form of client-go for ${algorithm}`, async () => {
      const { pem } = keyParameters[algorithm];
      assert.equal(pem.label, headers[algorithm]);
      // The other RSA sizes have the same form, and are slow to generate.
      if (algorithm === 'rsa-3072' || algorithm === 'rsa-4096') return;
      const { privateKey } = await keysFor(algorithm);
      const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey));
      const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
      const exported = key.export({ format: 'pem', type: pem.type as 'pkcs8' });
      assert.ok(exported.startsWith(`-----BEGIN ${pem.label}-----\n`));
    });
  }
});
