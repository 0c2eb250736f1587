import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasSameIssuerKey } from '../../src/enroller/issuer-key.ts';
import { generatePrivateKey } from '../../src/enroller/private-key.ts';
import type { Authority as Root } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import type { Authority } from './fixtures.ts';
import { authority, issue } from './fixtures.ts';

async function leafOf(ca: Root): Promise<Buffer> {
  const { cert } = await ca.issue({ commonName: 'system:node:n1', usages: ['client auth'] });
  return Buffer.from(cert);
}

/** A leaf with the intermediate that signed it. */
async function chainOf(intermediate: Authority): Promise<Buffer> {
  using key = await generatePrivateKey('ecdsa-p256');
  return Buffer.concat([await issue(intermediate, key.publicKey), intermediate.pem]);
}

describe('hasSameIssuerKey()', () => {
  const unreadable = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

  for (const keyIds of [true, false]) {
    const how = keyIds ? 'with key identifiers' : 'without key identifiers';

    it(`distinguishes two CAs with the same name by a bundle, ${how}`, async () => {
      const ca = await makeAuthority('kubernetes', { keyIds });
      const other = await makeAuthority('kubernetes', { keyIds });
      const authorities = Buffer.from(unreadable + ca.pem + other.pem);
      const previous = await leafOf(ca);
      const same = { previous, issued: await leafOf(ca), authorities };
      assert.equal(hasSameIssuerKey(same), true);
      assert.equal(hasSameIssuerKey({ ...same, issued: await leafOf(other) }), false);
      const half = { ...same, authorities: Buffer.from(other.pem) };
      assert.equal(hasSameIssuerKey({ ...half, issued: await leafOf(other) }), false);
    });
  }

  it('compares key identifiers when no CA of the bundle signed either', async () => {
    const [ca, other] = [await makeAuthority('kubernetes'), await makeAuthority('kubernetes')];
    const previous = await leafOf(ca);
    assert.equal(hasSameIssuerKey({ previous, issued: await leafOf(ca) }), true);
    assert.equal(hasSameIssuerKey({ previous, issued: await leafOf(other) }), false);
  });

  it('is false when nothing identifies the keys', async () => {
    const ca = await makeAuthority('kubernetes', { keyIds: false });
    const keys = { previous: await leafOf(ca), issued: await leafOf(ca) };
    assert.equal(hasSameIssuerKey(keys), false);
    assert.equal(hasSameIssuerKey({ ...keys, previous: Buffer.from('') }), false);
  });

  it('compares the keys of intermediates too', async () => {
    const root = await authority('root');
    const [first, second] = [await authority('sub', root), await authority('sub', root)];
    const previous = await chainOf(first);
    const authorities = root.pem;
    const same = { previous, issued: await chainOf(first), authorities };
    assert.equal(hasSameIssuerKey(same), true);
    assert.equal(hasSameIssuerKey({ ...same, issued: await chainOf(second) }), false);
    using key = await generatePrivateKey('ecdsa-p256');
    const direct = await issue(root, key.publicKey);
    assert.equal(hasSameIssuerKey({ ...same, issued: direct }), false);
  });
});
