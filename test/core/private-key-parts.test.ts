import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { derTags, writeDer } from '../../src/core/der.ts';
import type { PrivateKeyForm } from '../../src/core/private-key-parts.ts';
import { hasPublicKeyOf } from '../../src/core/private-key-parts.ts';
import type { OpensslPair, TestKeyKind } from '../pki/renewal/openssl-authority.ts';
import { authorityOf } from '../pki/renewal/openssl-authority.ts';
import { derOf } from './openssl.ts';

const forms = {
  'P-256': ['pkcs8', 'sec1'],
  'P-521': ['pkcs8', 'sec1'],
  'RSA 2048': ['pkcs8', 'pkcs1'],
} as const satisfies Partial<Record<TestKeyKind, readonly PrivateKeyForm[]>>;

function keyIn(form: PrivateKeyForm, { key }: OpensslPair): Buffer {
  // There is no overload for the union of the three forms.
  return createPrivateKey(key).export({ format: 'der', type: form as 'pkcs8' });
}

describe('hasPublicKeyOf()', () => {
  for (const [kind, known] of Object.entries(forms)) {
    const [own, other] = [kind, kind].map((key) => authorityOf({ key: key as TestKeyKind }));
    if (own === undefined || other === undefined) continue;
    const certificate = derOf(own.certificate);
    for (const form of known) {
      it(`tells a ${kind} key in ${form} from another one`, () => {
        assert.equal(hasPublicKeyOf(certificate, keyIn(form, own), form), true);
        assert.equal(hasPublicKeyOf(certificate, keyIn(form, other), form), false);
      });

      it(`is false for every truncated ${kind} key in ${form}`, () => {
        const der = keyIn(form, own);
        for (let length = 0; length < der.length; length += 1) {
          assert.equal(hasPublicKeyOf(certificate, der.subarray(0, length), form), false);
        }
      });
    }
  }

  it('is false for a key without its public key', () => {
    const pair = authorityOf({ key: 'Ed25519' });
    assert.equal(hasPublicKeyOf(derOf(pair.certificate), keyIn('pkcs8', pair), 'pkcs8'), false);
  });

  it('is false for the public key alone, and for bytes that are no certificate', () => {
    const pair = authorityOf({ key: 'RSA 2048' });
    const { n = '', e = '' } = createPrivateKey(pair.key).export({ format: 'jwk' });
    const integers = [[0], [0, ...Buffer.from(n, 'base64url')], [...Buffer.from(e, 'base64url')]];
    const onlyPublic = writeDer(
      derTags.sequence,
      ...integers.map((bytes) => writeDer(derTags.integer, Uint8Array.from(bytes))),
    );
    assert.equal(hasPublicKeyOf(derOf(pair.certificate), onlyPublic, 'pkcs1'), false);
    assert.equal(hasPublicKeyOf(Buffer.from('x'), keyIn('pkcs1', pair), 'pkcs1'), false);
  });
});
