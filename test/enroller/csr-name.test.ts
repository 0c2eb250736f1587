import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { csrName } from '../../src/enroller/csr-name.ts';
import { clientTemplate } from '../core/fixtures.ts';

const key = Uint8Array.from([1, 2, 3, 250]);

describe('csrName()', () => {
  it('equals the digest that the kubelet computes', () => {
    // base64url without padding of: the key, the CN, the organization, the two usages.
    const parts =
      'AQID-g|c3lzdGVtOm5vZGU6d29ya2VyLTE|c3lzdGVtOm5vZGVz|ZGlnaXRhbCBzaWduYXR1cmU|Y2xpZW50IGF1dGg|';
    const digest = createHash('sha512-256').update(parts).digest('base64url');
    assert.equal(csrName(key, clientTemplate), `node-csr-${digest}`);
    assert.equal(digest.length, 43);
  });

  it('is the same for the same request', () => {
    assert.equal(csrName(key, clientTemplate), csrName(key.slice(), { ...clientTemplate }));
  });

  const changes: readonly (readonly [string, Uint8Array, Partial<CertificateTemplate>])[] = [
    ['key', Uint8Array.from([1, 2, 3, 251]), {}],
    ['name', key, { subject: { ...clientTemplate.subject, commonName: 'system:node:worker-2' } }],
    ['organization', key, { subject: { ...clientTemplate.subject, organizations: [] } }],
    ['usages', key, { usages: ['digital signature'] }],
  ];
  for (const [what, publicKey, change] of changes) {
    it(`differs with the ${what}`, () => {
      const other = csrName(publicKey, { ...clientTemplate, ...change });
      assert.notEqual(other, csrName(key, clientTemplate));
    });
  }
});
