import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import {
  open,
  readFile,
  readdir,
  readlink,
  realpath,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { hour, minute, second } from '../../src/core/instant.ts';
import { pairFile } from '../../src/store/pair-names.ts';
import { tmpfsDirectory } from './mounts.ts';
import { makePair, present, requireWholePair, secretOf, temporaryDirectory } from './pairs.ts';
import { bench, kinds, name } from './store-bench.ts';

test('write() creates directory, file and link as the kubelet does', async (t) => {
  const directory = join(await realpath(await temporaryDirectory(t)), 'var', 'pki');
  const { store, link, at } = await bench(t, { directory });
  const pair = await makePair();
  const { pair: facts, findings } = await store.write(secretOf(pair));
  const file = pairFile(name, present);
  assert.equal(facts.path, at(file));
  assert.equal(facts.serial, pair.serial);
  assert.deepEqual(findings, []);
  assert.equal(await readlink(link), at(file));
  assert.deepEqual(await readFile(link), pair.pem);
  assert.equal((await stat(link)).mode & 0o7777, 0o600);
  assert.equal((await stat(directory)).mode & 0o7777, 0o755);
  assert.deepEqual(await readdir(directory), [file, basename(link)]);
  const inspected = await store.inspect();
  assert.deepEqual([inspected.pair, inspected.findings], [facts, []]);
  const peeked = await store.peek();
  assert.deepEqual(peeked?.facts, facts);
  assert.deepEqual(inspected.publicKey, peeked?.publicKey);
});

test('write() creates a relative link if configured', async (t) => {
  const { store, link } = await bench(t, { config: { relativeLinks: true } });
  await store.write(secretOf(await makePair()));
  assert.equal(await readlink(link), pairFile(name, present));
});

test('write() notifies watchers of every previous key pair', async (t) => {
  const { store, link, clock } = await bench(t);
  await store.write(secretOf(await makePair()));
  // Watches the link by its name, as a kubelet does, and so the file behind it.
  const watcher = watch(link);
  t.after(() => watcher.close());
  for (let count = 0; count < 2; count += 1) {
    clock.jump(hour);
    const event = once(watcher, 'change');
    await store.write(secretOf(await makePair()));
    await event;
  }
});

test('write() gives key pairs of one second different names', async (t) => {
  const { store, link } = await bench(t);
  const pairs = [await makePair(), await makePair(), await makePair()];
  for (const pair of pairs) await store.write(secretOf(pair));
  assert.equal(basename(await readlink(link)), pairFile(name, present, 2));
  assert.deepEqual(await readFile(link), pairs[2]?.pem);
});

test('write() refuses other content before it writes anything', async (t) => {
  const { store, directory } = await bench(t);
  const [pair, other] = [await makePair(), await makePair()];
  const mixed = { ...pair, pem: Buffer.concat([pair.certificatePem, other.keyPem]) };
  const torn = { ...pair, pem: pair.pem.subarray(0, -40) };
  await assert.rejects(store.write(secretOf(mixed)), { code: 'CERT_KEY_MISMATCH' });
  await assert.rejects(store.write(secretOf(torn)), { code: 'PAIR_MALFORMED' });
  assert.deepEqual(await readdir(directory), []);
});

test('write() keeps the current and the configured number of previous key pairs', async (t) => {
  const { store, clock, directory, link } = await bench(t, { config: { previousPairs: 1 } });
  const removed: string[] = [];
  for (let count = 0; count < 4; count += 1) {
    const pair = await makePair({ notBefore: present + count * hour });
    const { findings } = await store.write(secretOf(pair));
    removed.push(...findings.map(({ kind, path }) => `${kind} ${basename(path)}`));
    clock.jump(hour);
  }
  assert.deepEqual(removed, [
    `pair-pruned ${pairFile(name, present)}`,
    `pair-pruned ${pairFile(name, present + hour)}`,
  ]);
  assert.deepEqual(await readdir(directory), [
    pairFile(name, present + 2 * hour),
    pairFile(name, present + 3 * hour),
    basename(link),
  ]);
});

test('write() never removes the previous key pair, which may be being opened', async (t) => {
  const { store, clock, directory } = await bench(t, { config: { previousPairs: 0 } });
  for (let count = 0; count < 3; count += 1) {
    await store.write(secretOf(await makePair({ selfSigned: count < 2 })));
    clock.jump(second);
  }
  assert.deepEqual((await readdir(directory)).slice(0, 2), [
    pairFile(name, present + second),
    pairFile(name, present + 2 * second),
  ]);
  assert.equal((await readdir(directory)).length, 3);
});

test('write() prunes by certificate dates and keeps targets of other links', async (t) => {
  const { store, put, at } = await bench(t, { config: { previousPairs: 1 } });
  const newest = await put(await makePair({ notBefore: present - hour }), 9 * hour);
  const oldest = await put(await makePair({ notBefore: present - 9 * hour }), hour);
  const used = await put(await makePair({ notBefore: present - 10 * hour }), 2 * hour);
  const torn = pairFile(name, present - minute);
  await writeFile(at(torn), 'torn', { mode: 0o600 });
  await utimes(at(newest), 1, 1);
  await symlink(used, at('by-hand.pem'));
  const { findings } = await store.write(secretOf(await makePair()));
  assert.deepEqual(
    findings.map(({ path }) => basename(path)),
    [torn, oldest],
  );
  requireWholePair(await readFile(at(newest)));
  requireWholePair(await readFile(at(used)));
});

test('write() keeps a file that a kubelet may be writing', async (t) => {
  const { store, at } = await bench(t, { config: { previousPairs: 0 } });
  const coming = pairFile(name, present - second);
  await writeFile(at(coming), '-----BEGIN CERT', { mode: 0o600 });
  await utimes(at(coming), present / second, present / second);
  assert.deepEqual((await store.write(secretOf(await makePair()))).findings, []);
  await utimes(at(coming), present / second - 120, present / second - 120);
  const { findings } = await store.write(secretOf(await makePair()));
  assert.deepEqual(
    findings.map(({ kind, path }) => [kind, basename(path)]),
    [['pair-pruned', coming]],
  );
});

test('write() keeps the latest three files that were set aside', async (t) => {
  const { store, at, directory } = await bench(t);
  const aside = [1, 2, 3, 4, 5].map(
    (count) => `${name}-current.pem.corrupt-2026-01-0${count}-00-00-00`,
  );
  for (const file of aside) await writeFile(at(file), 'bad', { mode: 0o600 });
  const { findings } = await store.write(secretOf(await makePair()));
  assert.deepEqual(
    findings.map(({ path }) => basename(path)),
    [aside[1], aside[0]],
  );
  assert.deepEqual(
    (await readdir(directory)).filter((file) => file.includes('corrupt')),
    aside.slice(2),
  );
});

test('write() succeeds and reports an old key pair that cannot be removed', async (t) => {
  const { store, put, at } = await bench(t, { config: { previousPairs: 0 } });
  const old = await put(await makePair(), hour);
  try {
    execFileSync('chattr', ['+i', at(old)], { stdio: 'pipe' });
  } catch (error) {
    t.skip(`needs the right to make a file immutable: ${String(error)}`);
    return;
  }
  const written = store.write(secretOf(await makePair()));
  const { findings } = await written.finally(() => execFileSync('chattr', ['-i', at(old)]));
  assert.deepEqual(kinds(findings), ['cleanup-failed']);
  assert.match(findings[0]?.detail ?? '', /cannot remove .*EPERM/);
});

test('write() keeps the previous key pair on a full disk', async (t) => {
  const directory = await tmpfsDirectory(t);
  if (directory === undefined) return;
  const { store, link, at } = await bench(t, { directory });
  const pair = await makePair();
  await store.write(secretOf(pair));
  await writeFile(at('ballast'), Buffer.alloc(12 * 1024));
  await assert.rejects(store.write(secretOf(await makePair())), {
    code: 'STORE_FULL',
    remedy: /Free space/,
  });
  assert.deepEqual(await readFile(link), pair.pem);
  assert.deepEqual(
    await readdir(directory),
    ['ballast', pairFile(name, present), basename(link)].sort(),
  );
  await unlink(at('ballast'));
  await store.write(secretOf(await makePair()));
});

test('write() links no file that differs from the written key pair', async (t) => {
  const { store, link, directory } = await bench(t);
  const [old, next, other] = [await makePair(), await makePair(), await makePair()];
  await store.write(secretOf(old));
  const before = await readdir(directory);
  await using handle = await open(link);
  // A disk that stores another whole key pair, which no check of the content alone would notice.
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  const lying = t.mock.method(prototype, 'writeFile', async function store(this: FileHandle) {
    await this.write(other.pem);
  });
  await assert.rejects(store.write(secretOf(next)), {
    code: 'STORE_IO',
    message: /does not contain the key pair that was written to it/,
  });
  assert.equal(lying.mock.callCount(), 1);
  assert.deepEqual(await readFile(link), old.pem);
  assert.deepEqual(await readdir(directory), before);
});

test('write() keeps the previous key pair if the link cannot be replaced', async (t) => {
  const { store, link, directory } = await bench(t);
  const pair = await makePair();
  await store.write(secretOf(pair));
  try {
    // Allows new names in the directory, but none to be replaced or removed.
    execFileSync('chattr', ['+a', directory], { stdio: 'pipe' });
  } catch (error) {
    t.skip(`needs the right to make a directory append-only: ${String(error)}`);
    return;
  }
  const failure = store.write(secretOf(await makePair()));
  await assert.rejects(failure, { code: 'STORE_PERMISSIONS' }).finally(() => {
    execFileSync('chattr', ['-a', directory]);
  });
  assert.deepEqual(await readFile(link), pair.pem);
});

test('write() removes the new file if the link cannot be created', async (t) => {
  // One name for the directory and one for the key pair.
  const directory = await tmpfsDirectory(t, 'nr_inodes=2');
  if (directory === undefined) return;
  const { store } = await bench(t, { directory });
  await assert.rejects(store.write(secretOf(await makePair())), {
    code: 'STORE_FULL',
    message: /create the link/,
  });
  assert.deepEqual(await readdir(directory), []);
});

test('write() keeps a plain file at the path of the link as a key pair', async (t) => {
  const { store, link, at } = await bench(t);
  const [old, next] = [await makePair(), await makePair()];
  await writeFile(link, old.pem);
  const { findings } = await store.write(secretOf(next));
  assert.deepEqual(kinds(findings), ['pair-adopted']);
  assert.deepEqual(await readFile(link), next.pem);
  assert.deepEqual(await readFile(at(pairFile(name, present))), old.pem);
});
