import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import type { KeyAlgorithm } from '../../src/core/certificate-spec.ts';
import { parsePem } from '../../src/core/pem.ts';
import { generatePrivateKey, pairPem } from '../../src/enroller/private-key.ts';
import { openssl } from '../core/openssl.ts';

/** The PEM label of client-go's keyutil, and the name that openssl prints for the key. */
const expected: Readonly<Record<KeyAlgorithm, readonly [string, RegExp]>> = {
  'ecdsa-p256': ['EC PRIVATE KEY', /256 bit[^]*prime256v1/],
  'ecdsa-p384': ['EC PRIVATE KEY', /384 bit[^]*secp384r1/],
  'rsa-2048': ['RSA PRIVATE KEY', /2048 bit/],
  'rsa-3072': ['RSA PRIVATE KEY', /3072 bit/],
  'rsa-4096': ['RSA PRIVATE KEY', /4096 bit/],
  ed25519: ['PRIVATE KEY', /ED25519/],
};

describe('generatePrivateKey()', () => {
  for (const [algorithm, [label, described]] of Object.entries(expected)) {
    it(`writes ${algorithm} as the kubelet does, and openssl reads it`, async () => {
      using key = await generatePrivateKey(algorithm as KeyAlgorithm);
      using secret = key.exportPem();
      const pem = secret.expose();
      assert.deepEqual(
        parsePem(pem).map((block) => block.label),
        [label],
      );
      assert.match(openssl(['pkey', '-text', '-noout'], pem), described);
      const publicDer = createPublicKey(createPrivateKey(Buffer.from(pem))).export({
        format: 'der',
        type: 'spki',
      });
      assert.deepEqual(new Uint8Array(publicDer), key.publicKey);
      assert.equal(key.algorithm, algorithm);
    });
  }

  it('generates a new key each time', async () => {
    using a = await generatePrivateKey('ecdsa-p256');
    using b = await generatePrivateKey('ecdsa-p256');
    assert.notDeepEqual(a.publicKey, b.publicKey);
  });

  it('throws after disposal', async () => {
    const key = await generatePrivateKey('ecdsa-p256');
    key[Symbol.dispose]();
    assert.throws(() => key.pair, { code: 'INTERNAL', message: 'the private key was disposed of' });
    assert.throws(() => key.exportPem(), { code: 'INTERNAL' });
  });

  it('never prints the key', async () => {
    using key = await generatePrivateKey('ecdsa-p256');
    using pem = key.exportPem();
    const text = Buffer.from(pem.expose()).toString('latin1').split('\n')[1] ?? '';
    assert.ok(text.length > 40);
    const seen = [key, pem, key.pair].map((part) => inspect(part, { depth: 9 }));
    for (const shown of [...seen, JSON.stringify({ key, pem }), String(pem)]) {
      assert.equal(shown.includes(text), false);
      assert.equal(shown.includes('PRIVATE KEY'), false);
    }
  });

  it('reports an unsupported algorithm', async () => {
    await assert.rejects(generatePrivateKey('toString' as KeyAlgorithm), {
      code: 'KEY_UNSUPPORTED',
      message: 'cannot generate a toString key',
    });
  });
});

describe('pairPem()', () => {
  it('writes the key after the certificates, in its own memory', async () => {
    using key = await generatePrivateKey('ecdsa-p256');
    using pair = pairPem(Buffer.from('certificates\n'), key);
    const bytes = pair.expose();
    assert.equal(bytes.byteOffset, 0);
    assert.equal(bytes.buffer.byteLength, bytes.length);
    const text = Buffer.from(bytes).toString();
    using pem = key.exportPem();
    assert.equal(text, `certificates\n${Buffer.from(pem.expose()).toString()}`);
    pair.wipe();
    assert.ok(pem.expose().some((byte) => byte !== 0));
  });
});
