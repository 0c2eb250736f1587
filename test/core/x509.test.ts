import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { usages } from '../../src/core/certificate.ts';
import { AgentError, hasCode } from '../../src/core/errors.ts';
import { day } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import {
  isSignedBy,
  parseCertificate,
  parseCertificateRequest,
  usageExtensions,
  webcrypto,
  x509,
} from '../../src/core/x509.ts';
import type { Certificate } from '../../src/core/x509.ts';
import { start } from './fixtures.ts';
import { derOf, openssl, requestFor, selfSigned, signedBy } from './openssl.ts';

const everything = selfSigned({
  subject: '/O=system:nodes/O=others/CN=system:node:worker-1',
  extensions: [
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature,keyEncipherment',
    'extendedKeyUsage=serverAuth,clientAuth',
    'subjectAltName=DNS:Worker-1,DNS:a.example,DNS:worker-1,IP:10.0.0.9,IP:FD00:0::1,IP:10.0.0.1,URI:spiffe://x,email:a@b.c',
  ],
  options: ['-days', '3', '-set_serial', '0x00b7F2'],
});
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
const curve = { name: 'ECDSA', namedCurve: 'P-256' };
const keys = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify']);
assert.ok('privateKey' in keys);
const parse = (pem: Uint8Array): Promise<Certificate> => parseCertificate(derOf(pem));

describe('parseCertificate()', () => {
  it('returns the facts that OpenSSL shows', async () => {
    const { facts } = await parse(everything.certificate);
    const shown = (...args: string[]): string =>
      openssl(['x509', '-noout', ...args], everything.certificate).trim();
    assert.equal(facts.serial, 'b7f2');
    assert.equal(shown('-serial'), 'serial=B7F2');
    assert.deepEqual(facts.subject, {
      commonName: 'system:node:worker-1',
      organizations: ['system:nodes', 'others'],
    });
    assert.equal(shown('-issuer', '-nameopt', 'RFC2253'), `issuer=${facts.issuer}`);
    assert.equal(Date.parse(shown('-startdate').replace('notBefore=', '')), facts.notBefore);
    assert.equal(Date.parse(shown('-enddate').replace('notAfter=', '')), facts.notAfter);
  });

  it('returns canonical SANs, and other kinds separately', async () => {
    const { facts } = await parse(everything.certificate);
    assert.deepEqual(facts.dnsNames, ['a.example', 'worker-1']);
    assert.deepEqual(facts.ipAddresses, ['10.0.0.1', '10.0.0.9', 'fd00::1']);
    assert.deepEqual(facts.otherNames, ['url:spiffe://x', 'email:a@b.c']);
  });

  it('returns usages by their names in certificates.k8s.io', async () => {
    const { facts } = await parse(everything.certificate);
    const expected = ['digital signature', 'key encipherment', 'server auth', 'client auth'];
    assert.deepEqual(facts.usages, expected);
  });

  it('returns the public key as Node and OpenSSL do', async () => {
    const { publicKey, der } = await parse(everything.certificate);
    const reference = new X509Certificate(everything.certificate);
    assert.deepEqual(
      Buffer.from(publicKey),
      reference.publicKey.export({ type: 'spki', format: 'der' }),
    );
    assert.deepEqual(Buffer.from(der), reference.raw);
  });

  it('uses the last of several common names, as Go does', async () => {
    const { certificate } = selfSigned({ subject: '/CN=system:node:a/CN=system:node:b' });
    assert.equal((await parse(certificate)).facts.subject.commonName, 'system:node:b');
  });

  it('returns an empty name and no SANs if there are none', async () => {
    const { facts } = await parse(selfSigned({ subject: '/O=only' }).certificate);
    assert.equal(facts.subject.commonName, '');
    assert.deepEqual([facts.dnsNames, facts.ipAddresses, facts.otherNames], [[], [], []]);
  });

  const issuers = [
    '/O=a/CN=b',
    '/DC=org/DC=example/OU=x/CN=y',
    '/O= lead;<"q"/CN=x\\\\y, z',
    '/CN=Zürich #1',
  ];
  for (const subject of issuers) {
    it(`writes the issuer ${subject} as OpenSSL does`, async () => {
      const { certificate } = selfSigned({ subject });
      const nameForm = ['-issuer', '-nameopt', 'RFC2253,-esc_msb,utf8'];
      const shown = openssl(['x509', '-noout', ...nameForm], certificate).trim();
      assert.equal(`issuer=${(await parse(certificate)).facts.issuer}`, shown);
    });
  }

  const keys: readonly (readonly [string, readonly string[]])[] = [
    ['RSA', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['P-384', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['P-521', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    ['Ed25519', ['-algorithm', 'ED25519']],
  ];
  for (const [name, key] of keys) {
    it(`recognizes a self-signed ${name} certificate`, async () => {
      const { certificate } = selfSigned({ subject: '/CN=ca', key });
      assert.equal((await parse(certificate)).facts.selfSigned, true);
    });
  }

  it('does not call a certificate self-signed because of equal names', async () => {
    const ca = selfSigned({ subject: '/CN=same' });
    assert.equal((await parse(signedBy(ca, '/CN=same'))).facts.selfSigned, false);
  });

  const names = [
    ['worker-1-ca@1764000000', 'worker-1@1764000001', true],
    ['worker-2-ca@1764000000', 'worker-1@1764000001', false],
    ['worker-1-ca@1764000000', 'system:node:worker-1', false],
    ['worker-1-ca', 'worker-1@1764000001', false],
  ] as const;
  for (const [authority, name, expected] of names) {
    it(`calls ${name} of ${authority} ${expected ? 'self-signed' : 'issued'}`, async () => {
      const ca = selfSigned({ subject: `/CN=${authority}` });
      assert.equal((await parse(signedBy(ca, `/CN=${name}`))).facts.selfSigned, expected);
    });
  }

  it('caches results that callers cannot change', async () => {
    const der = derOf(everything.certificate);
    const first = await parseCertificate(der);
    const before = structuredClone(first);
    first.publicKey.fill(0);
    assert.deepEqual(await parse(everything.certificate), before);
    der.fill(0);
    await assert.rejects(parseCertificate(der), { code: 'CERT_MALFORMED' });
    assert.deepEqual(await parse(everything.certificate), before);
  });

  it('distinguishes certificates that differ in one byte', async () => {
    const der = derOf(everything.certificate);
    const { facts } = await parseCertificate(der);
    // The last byte of the serial number, which openssl shows as B7F2.
    const changed = der.slice();
    const at = Buffer.from(changed).indexOf(Buffer.from('00b7f2', 'hex')) + 2;
    changed[at] = 0xf3;
    assert.equal(facts.serial, 'b7f2');
    assert.equal((await parseCertificate(changed)).facts.serial, 'b7f3');
  });

  it('refuses other bytes, with the cause', async () => {
    for (const der of [Uint8Array.of(), Uint8Array.of(0x30, 0x00), derOf(everything.key)]) {
      await assert.rejects(parseCertificate(der), isMalformed);
    }
  });

  it('refuses a certificate with two extensions of one kind, as Go does', async () => {
    const extensions = ['a', 'b'].map(
      (value) => new x509.SubjectAlternativeNameExtension([{ type: 'dns', value }]),
    );
    const own = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify']);
    const doubled = await x509.X509CertificateGenerator.createSelfSigned(
      { name: 'CN=a', keys: own, signingAlgorithm, extensions },
      webcrypto,
    );
    await assert.rejects(
      parseCertificate(new Uint8Array(doubled.rawData)),
      ({ code, cause }: AgentError) =>
        code === 'CERT_MALFORMED' && String(cause).includes('2.5.29.17 occurs twice'),
    );
  });

  it('refuses a certificate that is truncated anywhere', async () => {
    const whole = derOf(everything.certificate);
    const cut = fc.integer({ min: 0, max: whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(cut, (length) =>
        assert.rejects(parseCertificate(whole.slice(0, length)), isMalformed),
      ),
    );
  });
});

describe('isSignedBy()', () => {
  const ca = selfSigned({ subject: '/CN=kubernetes-ca' });
  const leaf = signedBy(ca, '/CN=leaf');

  it('is true for the CA that signed', async () => {
    assert.equal(await isSignedBy(await parse(leaf), await parse(ca.certificate)), true);
  });

  it('is false for a CA of the same name with another key', async () => {
    const other = selfSigned({ subject: '/CN=kubernetes-ca' });
    assert.equal(await isSignedBy(await parse(leaf), await parse(other.certificate)), false);
  });

  it('is false for the same key under another name', async () => {
    const renamed = selfSigned({ subject: '/CN=kubernetes-ca' });
    const child = signedBy(renamed, '/CN=leaf');
    assert.equal(await isSignedBy(await parse(child), await parse(leaf)), false);
  });

  it('is false for a CA with another kind of key', async () => {
    const rsa = selfSigned({ subject: '/CN=kubernetes-ca', key: ['-algorithm', 'RSA'] });
    assert.equal(await isSignedBy(await parse(leaf), await parse(rsa.certificate)), false);
  });

  it('throws CERT_MALFORMED for a malformed signature', async () => {
    const { certificate: der } = selfSigned({ subject: '/CN=ca' });
    const broken = derOf(der);
    // The last value of a certificate is the signature: here a SEQUENCE of two INTEGERs in a BIT STRING.
    const at = Buffer.from(broken).lastIndexOf(Uint8Array.of(0x00, 0x30)) + 1;
    broken[at] = 0x04;
    const child = { ...(await parse(der)), der: broken };
    await assert.rejects(isSignedBy(child, await parse(der)), (error) =>
      hasCode(error, 'CERT_MALFORMED'),
    );
  });

  it('is true for an expired certificate', async () => {
    const [notBefore, notAfter] = [new Date(start - 2 * day), new Date(start - day)];
    const options = { name: 'CN=old', keys, signingAlgorithm, notBefore, notAfter };
    const old = await x509.X509CertificateGenerator.createSelfSigned(options, webcrypto);
    const parsed = await parseCertificate(new Uint8Array(old.rawData));
    assert.equal(parsed.facts.notAfter, start - day);
    assert.equal(await isSignedBy(parsed, parsed), true);
  });
});

describe('parseCertificateRequest()', () => {
  const names = ['subjectAltName=DNS:Worker-1,IP:FD00:0::1,URI:spiffe://x'];
  const request = (subject: string): Buffer => requestFor({ subject, extensions: names });

  it('reads subject, SANs and proof of possession', async () => {
    const found = await parseCertificateRequest(derOf(request('/O=system:nodes/CN=system:node:a')));
    assert.deepEqual(found.subject, {
      commonName: 'system:node:a',
      organizations: ['system:nodes'],
    });
    assert.deepEqual(found.dnsNames, ['worker-1']);
    assert.deepEqual(found.ipAddresses, ['fd00::1']);
    assert.deepEqual(found.otherNames, ['url:spiffe://x']);
    assert.equal(found.signedByItsKey, true);
  });

  it('returns the common name that Go, and so the API server, uses', async () => {
    const found = await parseCertificateRequest(
      derOf(request('/CN=system:node:a/CN=system:node:b')),
    );
    assert.equal(found.subject.commonName, 'system:node:b');
  });

  it('detects a signature by another key', async () => {
    const der = derOf(request('/CN=a'));
    const text = Buffer.from(der);
    const at = text.indexOf('0603550403', 0, 'hex') + 7;
    assert.equal(String.fromCharCode(der[at] ?? 0), 'a');
    der[at] = 'b'.charCodeAt(0);
    const found = await parseCertificateRequest(der);
    assert.equal(found.subject.commonName, 'b');
    assert.equal(found.signedByItsKey, false);
  });

  it('refuses other bytes', async () => {
    await assert.rejects(parseCertificateRequest(Uint8Array.of(1, 2, 3)), isMalformed);
  });
});

describe('usageExtensions()', () => {
  it('are read back by parseCertificate() and OpenSSL for any usages', async () => {
    await fc.assert(
      fc.asyncProperty(fc.subarray([...usages]), async (wanted) => {
        const extensions = usageExtensions(wanted);
        const options = { name: 'CN=x', keys, signingAlgorithm, extensions };
        const made = await x509.X509CertificateGenerator.createSelfSigned(options, webcrypto);
        const der = new Uint8Array(made.rawData);
        assert.deepEqual((await parseCertificate(der)).facts.usages, wanted);
        assert.doesNotThrow(() => new X509Certificate(encodePem('CERTIFICATE', der)));
      }),
      { numRuns: 50 },
    );
  });
});

function isMalformed(error: unknown): boolean {
  return (
    error instanceof AgentError && error.code === 'CERT_MALFORMED' && error.cause !== undefined
  );
}
