import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { isSameKey } from '../../src/sys/public-key.ts';

describe('isSameKey()', () => {
  const ecdsa = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const others = {
    ecdsa: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    'ecdsa on another curve': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ed25519: generateKeyPairSync('ed25519'),
  };
  const pem = ecdsa.privateKey.export({ format: 'pem', type: 'pkcs8' });

  it('is true for two objects of one key', () => {
    const { publicKey } = ecdsa;
    assert.ok(isSameKey(publicKey, publicKey));
  });

  for (const [kind, { publicKey }] of Object.entries(others)) {
    it(`is false for another key (${kind}), and the next key can be parsed`, () => {
      assert.equal(isSameKey(ecdsa.publicKey, publicKey), false);
      assert.ok(createPrivateKey(pem).equals(ecdsa.privateKey));
    });
  }
});
