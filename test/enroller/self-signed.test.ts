import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import type { CertificateSpec, KeyAlgorithm } from '../../src/core/certificate-spec.ts';
import { day } from '../../src/core/instant.ts';
import { parsePem } from '../../src/core/pem.ts';
import { parseCertificate } from '../../src/core/x509.ts';
import { selfSignedPair } from '../../src/enroller/self-signed.ts';
import { servingSpec } from '../core/fixtures.ts';

const now = Date.UTC(2026, 0, 1, 12, 0, 0, 700);

async function pairFor(spec: CertificateSpec): Promise<Buffer> {
  using pem = await selfSignedPair({
    spec,
    hostName: 'worker-1',
    ipAddresses: ['10.0.0.1', 'fd00::1'],
    now,
  });
  return Buffer.from(pem.expose());
}

describe('selfSignedPair()', () => {
  for (const key of ['ecdsa-p256', 'rsa-2048', 'ed25519'] as const satisfies KeyAlgorithm[]) {
    it(`generates a matching ${key} pair`, async () => {
      const pem = await pairFor({ ...servingSpec, key });
      const certificate = new X509Certificate(pem);
      assert.ok(certificate.checkPrivateKey(createPrivateKey(pem)));
      assert.ok(certificate.verify(certificate.publicKey));
    });
  }

  it('names the host and its addresses for a year, as the kubelet does', async () => {
    const [block] = parsePem(await pairFor(servingSpec));
    assert.ok(block !== undefined);
    const { facts } = await parseCertificate(block.der);
    const start = now - 700;
    assert.deepEqual(
      [facts.subject.commonName, facts.dnsNames, facts.ipAddresses, facts.usages],
      [`worker-1@${start / 1000}`, ['worker-1'], ['10.0.0.1', 'fd00::1'], servingSpec.usages],
    );
    assert.deepEqual([facts.notBefore, facts.notAfter], [start, start + 365 * day]);
    assert.equal(facts.selfSigned, true);
  });
});
