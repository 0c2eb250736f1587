import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Secret } from '../../../src/core/secret.ts';
import {
  describeKind,
  exportKey,
  formOf,
  generateKey,
  kindOf,
  parseKey,
  readKeyFile,
} from '../../../src/pki/renewal/key-file.ts';
import { openssl } from '../../core/openssl.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { keyOptions } from './openssl-authority.ts';
import type { TestKeyKind } from './openssl-authority.ts';

const secretOf = (pem: string): Secret => new Secret(new Uint8Array(Buffer.from(pem)));
const generated = (kind: TestKeyKind): string => openssl(['genpkey', ...keyOptions[kind]]);

describe('parseKey()', () => {
  const rsa = generated('RSA 2048');
  const ec = generated('P-384');
  const forms = [
    ['PKCS #8, RSA', rsa, 'pkcs8'],
    ['PKCS #1', openssl(['rsa', '-traditional'], Buffer.from(rsa)), 'pkcs1'],
    ['PKCS #8, EC', ec, 'pkcs8'],
    ['SEC 1', openssl(['ec'], Buffer.from(ec)), 'sec1'],
    ['SEC 1 after EC PARAMETERS', openssl(['ecparam', '-genkey', '-name', 'prime256v1']), 'sec1'],
  ] as const;
  for (const [name, pem, form] of forms) {
    it(`reads ${name}, and formOf() tells its form`, () => {
      const key = parseKey(secretOf(pem), 'ca.key');
      assert.ok(key.equals(createPrivateKey(pem)));
      assert.equal(formOf(secretOf(pem)), form);
    });
  }

  const encrypted = [
    ['PKCS #8', openssl(['pkcs8', '-topk8', '-passout', 'pass:x'], Buffer.from(rsa))],
    [
      'PKCS #1',
      openssl(['rsa', '-traditional', '-aes128', '-passout', 'pass:x'], Buffer.from(rsa)),
    ],
  ] as const;
  for (const [name, pem] of encrypted) {
    it(`refuses an encrypted key in ${name}`, () => {
      assert.throws(() => parseKey(secretOf(pem), 'ca.key'), {
        code: 'KEY_UNSUPPORTED',
        message: 'the private key ca.key is encrypted',
      });
      assert.equal(formOf(secretOf(pem)), undefined);
    });
  }

  it('refuses other text without quoting it', () => {
    const pem = `${ec.slice(0, 60)}!${ec.slice(61)}`;
    assert.throws(() => parseKey(secretOf(pem), 'ca.key'), {
      code: 'PAIR_MALFORMED',
      message: 'ca.key contains no private key in PEM',
    });
    assert.throws(
      () => parseKey(secretOf(pem), 'ca.key'),
      (error: Error) => !('cause' in error),
    );
  });
});

describe('readKeyFile()', () => {
  it('returns undefined for a missing file', async (context) => {
    const directory = await temporaryDirectory(context);
    assert.equal(await readKeyFile(join(directory, 'ca.key')), undefined);
  });

  it('reads the key of a file', async (context) => {
    const path = join(await temporaryDirectory(context), 'ca.key');
    const pem = generated('P-256');
    await writeFile(path, pem);
    assert.ok((await readKeyFile(path))?.equals(createPrivateKey(pem)));
  });
});

describe('generateKey()', () => {
  const rows = [
    ['P-256', 'ECDSA P-256'],
    ['P-384', 'ECDSA P-384'],
    ['P-521', 'ECDSA P-521'],
    ['RSA 2048', 'RSA 2048'],
    ['RSA 1024', 'RSA 2048'],
    ['Ed25519', 'Ed25519'],
  ] as const;
  for (const [old, expected] of rows) {
    it(`replaces a key ${old} by ${expected}`, async () => {
      const kind = kindOf(createPrivateKey(generated(old)));
      const key = await generateKey(kind);
      assert.equal(describeKind(kindOf(key)), expected);
      assert.equal(describeKind(kind), expected);
    });
  }
});

describe('exportKey()', () => {
  const rows = [
    ['RSA 2048', undefined, 'RSA PRIVATE KEY'],
    ['RSA 2048', 'pkcs8', 'PRIVATE KEY'],
    ['P-256', undefined, 'EC PRIVATE KEY'],
    ['P-256', 'pkcs1', 'EC PRIVATE KEY'],
    ['P-256', 'pkcs8', 'PRIVATE KEY'],
    ['Ed25519', undefined, 'PRIVATE KEY'],
  ] as const;
  for (const [kind, previous, label] of rows) {
    it(`writes ${label} for ${kind} after ${previous ?? 'no key'}`, () => {
      const key = createPrivateKey(generated(kind));
      using pem = exportKey(key, previous);
      const text = Buffer.from(pem.expose()).toString();
      assert.match(text, new RegExp(`^-----BEGIN ${label}-----\n`));
      assert.ok(createPrivateKey(text).equals(key));
    });
  }
});
