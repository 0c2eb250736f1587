import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { realpath, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodePem, parsePem } from '../../src/core/pem.ts';
import { Secret } from '../../src/core/secret.ts';
import { loadPair, openPair, openSplitPair, parsePair } from '../../src/store/pair-file.ts';
import { makePair, opensslPair, secretOf, temporaryDirectory } from './pairs.ts';

test('loadPair() reports the target of a link, its time and its certificate', async (t) => {
  const directory = await temporaryDirectory(t);
  const { pem, serial, leaf } = await makePair();
  await writeFile(join(directory, 'pair.pem'), pem);
  await symlink('pair.pem', join(directory, 'link.pem'));
  const pair = await loadPair(join(directory, 'link.pem'));
  assert.equal(pair.facts.serial, serial);
  assert.equal(pair.facts.path, join(await realpath(directory), 'pair.pem'));
  assert.ok(Math.abs(pair.facts.storedAt - Date.now()) < 60_000);
  assert.ok(Number.isInteger(pair.facts.storedAt));
  assert.deepEqual(pair.leaf, leaf);
  assert.ok(Buffer.from(leaf).includes(pair.publicKey));
});

const keyKinds: readonly (readonly [title: string, newKey: readonly string[]])[] = [
  ['RSA', ['rsa:2048']],
  ['ECDSA P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
  ['Ed25519', ['ed25519']],
];

for (const [title, newKey] of keyKinds) {
  test(`parsePair() accepts a PKCS #8 key: ${title}`, async () => {
    const { certificate, key } = opensslPair(newKey);
    const pair = await parsePair(new Secret(bytes(certificate, key)), 'x');
    assert.equal(pair.facts.subject.commonName, 'openssl');
  });
}

test('parsePair() accepts a PKCS #1 key', async () => {
  const { certificate, key } = opensslPair(['rsa:2048']);
  const pkcs1 = createPrivateKey(key).export({ format: 'pem', type: 'pkcs1' });
  assert.match(pkcs1, /BEGIN RSA PRIVATE KEY/);
  const pair = await parsePair(new Secret(bytes(certificate, Buffer.from(pkcs1))), 'x');
  assert.equal(pair.facts.selfSigned, true);
});

test('parsePair() accepts intermediates, a leading key and other blocks', async () => {
  const [pair, other] = [await makePair(), await makePair()];
  const parameters = encodePem('EC PARAMETERS', Uint8Array.of(6, 0));
  const { facts } = await parsePair(
    new Secret(bytes(parameters, pair.keyPem, pair.certificatePem, other.certificatePem)),
    'x',
  );
  assert.equal(facts.serial, pair.serial);
});

test('parsePair() refuses other content and quotes none of it', async (t) => {
  const [pair, other] = [await makePair(), await makePair()];
  const keyLines = pair.keyPem.toString().split('\n');
  const garbage = encodePem('CERTIFICATE', Uint8Array.of(1, 2, 3));
  const cases: readonly (readonly [title: string, code: string, content: Uint8Array])[] = [
    ['nothing', 'PAIR_MALFORMED', bytes()],
    ['zeros', 'PAIR_MALFORMED', new Uint8Array(512)],
    ['no key', 'PAIR_MALFORMED', bytes(pair.certificatePem)],
    ['no certificate', 'PAIR_MALFORMED', bytes(pair.keyPem)],
    ['two keys', 'PAIR_MALFORMED', bytes(pair.pem, pair.keyPem)],
    ['a torn key', 'PAIR_MALFORMED', bytes(pair.pem.subarray(0, -60))],
    ['a torn certificate', 'PAIR_MALFORMED', bytes(pair.pem.subarray(0, 200))],
    ['a bad certificate', 'PAIR_MALFORMED', bytes(garbage, pair.keyPem)],
    ['a bad intermediate', 'PAIR_MALFORMED', bytes(pair.pem, garbage)],
    ['a bad key', 'PAIR_MALFORMED', bytes(pair.certificatePem, asKey(Uint8Array.of(48, 0)))],
    [
      'a key under a password',
      'PAIR_MALFORMED',
      bytes(pair.certificatePem, encodePem('ENCRYPTED PRIVATE KEY', Uint8Array.of(48, 0))),
    ],
    [
      'a header that lost a dash',
      'PAIR_MALFORMED',
      bytes(pair.certificatePem, Buffer.from(keyLines.join('\n').replace('-----\n', '----\n'))),
    ],
    [
      'the key of another certificate',
      'CERT_KEY_MISMATCH',
      bytes(pair.certificatePem, other.keyPem),
    ],
  ];
  for (const [title, code, content] of cases) {
    await t.test(title, async () => {
      await assert.rejects(
        parsePair(new Secret(new Uint8Array(content)), '/some/pair.pem'),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, code);
          assert.match(error.message, /\/some\/pair\.pem/);
          const shown = `${error.message} ${String(error.cause)}`;
          assert.ok(!shown.includes(keyLines[1] ?? ''), 'the key is in the message');
          return true;
        },
      );
    });
  }
});

test('loadPair() refuses all but a regular file of a limited size', async (t) => {
  const directory = await temporaryDirectory(t);
  const at = (name: string): string => join(directory, name);
  await writeFile(at('empty'), '');
  await writeFile(at('huge'), Buffer.alloc(1024 * 1024 + 1, 0x0a));
  execFileSync('mkfifo', [at('fifo')]);
  const server = createServer().listen(at('socket'));
  t.after(() => server.close());
  await new Promise((resolve) => {
    server.once('listening', resolve);
  });
  for (const name of ['empty', 'huge', 'fifo', 'socket', '.']) {
    await t.test(name, async () => {
      await assert.rejects(loadPair(at(name)), { code: 'PAIR_MALFORMED' });
    });
  }
});

test('loadPair() distinguishes unreadable files from bad content', async (t) => {
  const directory = await temporaryDirectory(t);
  await assert.rejects(loadPair(join(directory, 'none')), { code: 'STORE_IO' });
  // The kernel reports EIO for the unmapped page at the start of our own memory.
  await assert.rejects(loadPair('/proc/self/mem'), { code: 'STORE_IO' });
});

test('openPair() wipes the content when it is disposed', async (t) => {
  const directory = await temporaryDirectory(t);
  const { pem } = await makePair();
  await writeFile(join(directory, 'pair.pem'), pem);
  const open = await openPair(join(directory, 'pair.pem'));
  const content = open.content.expose();
  assert.deepEqual(Buffer.from(content), pem);
  open[Symbol.dispose]();
  assert.ok(content.every((byte) => byte === 0));
});

test('parsePair() does not change the bytes of its caller', async () => {
  const pair = await makePair();
  const secret = secretOf(pair);
  await parsePair(secret, 'x');
  assert.deepEqual(Buffer.from(secret.expose()), pair.pem);
});

test('openSplitPair() joins leaf, intermediates and key in the order of the kubelet', async (t) => {
  const directory = await temporaryDirectory(t);
  const [pair, other] = [await makePair(), await makePair()];
  const files = { certificate: join(directory, 'x.crt'), key: join(directory, 'x.key') };
  await writeFile(files.certificate, bytes(pair.certificatePem, other.certificatePem));
  await writeFile(files.key, bytes(Buffer.from('a comment\n'), pair.keyPem));
  using open = await openSplitPair(files);
  assert.equal(open.pair.facts.serial, pair.serial);
  assert.equal(open.pair.facts.path, files.certificate);
  const labels = parsePem(open.content.expose()).map(({ label }) => label);
  assert.deepEqual(labels, ['CERTIFICATE', 'CERTIFICATE', 'EC PRIVATE KEY']);
  await writeFile(files.key, other.keyPem);
  await assert.rejects(openSplitPair(files), { code: 'CERT_KEY_MISMATCH' });
});

function bytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

function asKey(der: Uint8Array): Uint8Array {
  return encodePem('EC PRIVATE KEY', der);
}
