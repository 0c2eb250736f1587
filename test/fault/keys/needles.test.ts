import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { Matcher } from './matcher.ts';
import { embeddedNeedlesOf, needlesOf, secretsOf } from './needles.ts';
import { numbersIn, searchProcess } from './process-memory.ts';

const kinds: Readonly<Record<string, () => KeyObject>> = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  RSA: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  Ed25519: () => generateKeyPairSync('ed25519').privateKey,
};

function matcherFor(key: KeyObject): Matcher {
  const matcher = new Matcher();
  matcher.add(needlesOf('it', key));
  return matcher;
}

/** Encodings in which keys have leaked to logs and memory. */
const ways: Readonly<Record<string, (key: KeyObject) => string | Buffer>> = {
  DER: pkcs8,
  PEM: (key) => key.export({ format: 'pem', type: 'pkcs8' }),
  'PEM in one line': (key) => pkcs8(key).toString('base64'),
  'PEM in JSON': (key) => JSON.stringify(key.export({ format: 'pem', type: 'pkcs8' })),
  base64url: (key) => pkcs8(key).toString('base64url'),
  JWK: (key) => JSON.stringify(key.export({ format: 'jwk' })),
  hex: (key) => pkcs8(key).toString('hex'),
  'upper case hex': (key) => pkcs8(key).toString('hex').toUpperCase(),
  'a printed Buffer': (key) => inspect(secretsOf(key).get('d')),
  'JSON of a Buffer': (key) => JSON.stringify(pkcs8(key)),
  'a number': (key) => BigInt(`0x${secretsOf(key).get('d')?.toString('hex') ?? ''}`).toString(),
  'a BIGNUM': (key) => Buffer.from((secretsOf(key).get('d') ?? Buffer.alloc(0)).toReversed()),
  'two bytes a character': (key) =>
    Buffer.from(key.export({ format: 'pem', type: 'pkcs8' }), 'utf16le'),
  'its first half': (key) => (secretsOf(key).get('d') ?? Buffer.alloc(0)).subarray(0, 20),
  'its last half': (key) => (secretsOf(key).get('d') ?? Buffer.alloc(0)).subarray(-20),
};

function pkcs8(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'pkcs8' });
}

describe('needlesOf()', () => {
  for (const [kind, make] of Object.entries(kinds)) {
    it(`find a key of ${kind} in every encoding`, () => {
      const key = make();
      const matcher = matcherFor(key);
      for (const [way, write] of Object.entries(ways)) {
        const hay = Buffer.concat([randomBytes(4097), Buffer.from(write(key)), randomBytes(99)]);
        assert.notEqual(matcher.search(hay).length, 0, way);
      }
    });

    it(`match neither another key of ${kind} nor its own public key`, () => {
      const key = make();
      const matcher = matcherFor(key);
      const others = Object.values(ways).map((write) => Buffer.from(write(make())));
      const own = createPublicKey(key).export({ format: 'der', type: 'spki' });
      const hay = Buffer.concat([...others, own, randomBytes(1_000_000)]);
      assert.deepEqual(matcher.search(hay), []);
    });
  }
});

describe('embeddedNeedlesOf()', () => {
  for (const [kind, make] of Object.entries(kinds)) {
    it(`find a key of ${kind} in a kubeconfig, and not its public key`, () => {
      const key = make();
      const matcher = new Matcher();
      matcher.add(embeddedNeedlesOf('it', String(pem(key))));
      const embedded = Buffer.from(pem(key)).toString('base64');
      assert.notEqual(matcher.search(Buffer.from(`client-key-data: ${embedded}`)).length, 0);
      const spki = createPublicKey(key).export({ format: 'pem', type: 'spki' });
      assert.deepEqual(matcher.search(Buffer.from(Buffer.from(spki).toString('base64'))), []);
      assert.deepEqual(
        matcher.search(Buffer.from(Buffer.from(pem(make())).toString('base64'))),
        [],
      );
    });
  }
});

function pem(key: KeyObject): string | Buffer {
  return key.export({ format: 'pem', type: 'pkcs8' });
}

describe('numbersIn()', () => {
  it("reads small integers in V8's array format", () => {
    const values = [...randomBytes(16)];
    const words = Buffer.alloc(160, 0xff);
    for (const [index, value] of values.entries()) words.writeUInt32LE(value, 16 + index * 8 + 4);
    for (const index of values.keys()) words.writeUInt32LE(0, 16 + index * 8);
    assert.deepEqual([...numbersIn(words)], values);
  });
});

describe('searchProcess()', () => {
  const holders: Readonly<Record<string, readonly [string, RegExp]>> = {
    'a key object': ['crypto.createPrivateKey(pem)', /^d as little endian/],
    'a string': ['Buffer.from(pem).toString("latin1")', /^d as base64/],
    'a Buffer': [
      'crypto.createPrivateKey(pem).export({ format: "der", type: "pkcs8" })',
      /^d as big endian/,
    ],
    'an array of numbers': [
      'Array.from(Buffer.from(jwk.d, "base64url"))',
      /^d as big endian array of numbers/,
    ],
    'a BigInt': [
      'BigInt("0x" + Buffer.from(jwk.d, "base64url").toString("hex"))',
      /^d as little endian/,
    ],
  };
  for (const [what, [make, form]] of Object.entries(holders)) {
    it(`finds ${what} in another process`, async () => {
      const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
      const program = `
        const crypto = require('node:crypto');
        process.stdin.once('data', (pem) => {
          const jwk = crypto.createPrivateKey(pem).export({ format: 'jwk' });
          globalThis.held = ${make};
          console.log('held');
        });
        setInterval(() => globalThis.held, 1e6);`;
      const child = spawn(process.execPath, ['-e', program], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      try {
        child.stdin.write(pem(key));
        await once(child.stdout, 'data');
        const found = searchProcess(child.pid ?? 0, matcherFor(key));
        const lines = found.map(({ needle, where }) => `${needle.form} ${where}`);
        assert.ok(
          lines.some((line) => form.test(line)),
          lines.join('\n'),
        );
        const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
        assert.deepEqual(searchProcess(child.pid ?? 0, matcherFor(other)), []);
      } finally {
        child.kill('SIGKILL');
      }
    });
  }
});
