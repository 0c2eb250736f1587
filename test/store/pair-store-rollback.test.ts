import assert from 'node:assert/strict';
import { once } from 'node:events';
import { watch } from 'node:fs';
import {
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import type { RollBack } from '../../src/store/pair-rollback.ts';
import type { TestPair } from './pairs.ts';
import { makePair, present, requireWholePair, secretOf } from './pairs.ts';
import type { Bench } from './store-bench.ts';
import { bench, kinds } from './store-bench.ts';

/** Stores key pairs one after the other, a minute apart. */
async function stored(
  t: TestContext,
  pairs: readonly Parameters<typeof makePair>[0][],
  config: Parameters<typeof bench>[1] = {},
): Promise<Bench & { readonly pairs: readonly TestPair[] }> {
  const place = await bench(t, config);
  const made: TestPair[] = [];
  for (const options of pairs) {
    const pair = await makePair(options);
    await place.store.write(secretOf(pair));
    made.push(pair);
    place.clock.jump(minute);
  }
  return { ...place, pairs: made };
}

const newer = { notBefore: present - hour };

function serialOf(pairs: readonly TestPair[], index: number): string {
  return pairs[index]?.serial ?? 'none';
}

function assertKind<K extends RollBack['kind']>(
  result: RollBack,
  kind: K,
): asserts result is Extract<RollBack, { kind: K }> {
  assert.equal(result.kind, kind, JSON.stringify(result));
}

test('rollBack() links the previous key pair and keeps the other under two names', async (t) => {
  const { store, link, at, directory, pairs } = await stored(t, [{}, newer]);
  const from = basename(await readlink(link));
  const result = await store.rollBack(serialOf(pairs, 1));
  assertKind(result, 'rolled-back');
  assert.equal(result.pair.serial, serialOf(pairs, 0));
  assert.equal(requireWholePair(await readFile(link)), serialOf(pairs, 0));
  assert.equal((await readlink(link)).startsWith(directory), true);
  const [kept = ''] = (await readdir(directory)).filter((file) => file.includes('rolled-back'));
  assert.match(kept, new RegExp(`^${from}\\.rolled-back-[0-9-]+$`));
  assert.equal(requireWholePair(await readFile(at(kept))), serialOf(pairs, 1));
  assert.equal(requireWholePair(await readFile(at(from))), serialOf(pairs, 1));
  assert.equal((await stat(at(kept))).mode & 0o7777, 0o600);
  assert.deepEqual(kinds([...result.findings]), ['pair-rolled-back']);
  assert.ok(
    result.findings.every(({ detail }) => detail.endsWith(kept)),
    JSON.stringify(result),
  );
});

test('rollBack() creates a relative link if configured', async (t) => {
  const config = { config: { relativeLinks: true } };
  const { store, link, pairs } = await stored(t, [{}, newer], config);
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'rolled-back');
  assert.equal((await readlink(link)).includes('/'), false);
});

test('rollBack() links the newest of several previous key pairs', async (t) => {
  const { store, pairs } = await stored(t, [{}, { notBefore: present - 2 * hour }, newer]);
  const result = await store.rollBack(serialOf(pairs, 2));
  assertKind(result, 'rolled-back');
  assert.equal(result.pair.serial, serialOf(pairs, 1));
});

const useless: readonly (readonly [string, Parameters<typeof makePair>[0]])[] = [
  ['expired', { notAfter: present - second }],
  ['about to end', { notAfter: present + 6 * minute }],
  ['not valid yet', { notBefore: present + day }],
  ['self-signed', { selfSigned: true }],
];
for (const [what, earlier] of useless) {
  test(`rollBack() does not link a certificate that is ${what}`, async (t) => {
    const { store, link, directory, pairs } = await stored(t, [earlier, newer]);
    const before = await readdir(directory);
    const result = await store.rollBack(serialOf(pairs, 1));
    assertKind(result, 'impossible');
    assert.match(result.reason, /no previous certificate stays valid long enough/);
    assert.equal(requireWholePair(await readFile(link)), serialOf(pairs, 1));
    assert.deepEqual(await readdir(directory), before);
  });
}

test('rollBack() does not link a torn or mismatched key pair', async (t) => {
  const { store, put, link, pairs } = await stored(t, [newer]);
  const [torn, other] = [await makePair(), await makePair()];
  await put({ ...torn, pem: torn.pem.subarray(0, -40) }, hour);
  await put({ ...torn, pem: Buffer.concat([torn.certificatePem, other.keyPem]) }, 2 * hour);
  assertKind(await store.rollBack(serialOf(pairs, 0)), 'impossible');
  assert.equal(requireWholePair(await readFile(link)), serialOf(pairs, 0));
});

test('rollBack() changes nothing if another key pair is linked', async (t) => {
  const { store, link, directory, pairs } = await stored(t, [{}, newer]);
  const before = await readdir(directory);
  assertKind(await store.rollBack(serialOf(pairs, 0)), 'replaced');
  assert.equal(requireWholePair(await readFile(link)), serialOf(pairs, 1));
  assert.deepEqual(await readdir(directory), before);
});

test('rollBack() changes nothing if the key pair is removed or corrupt', async (t) => {
  const { store, link, pairs } = await stored(t, [{}, newer]);
  await writeFile(await readlink(link), 'junk');
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'replaced');
  await rm(link);
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'replaced');
});

test('rollBack() changes nothing if the target is in another directory', async (t) => {
  const { store, link, at, pairs } = await stored(t, [{}, newer]);
  await mkdir(at('elsewhere'));
  await rename(await readlink(link), at('elsewhere/pair.pem'));
  await rm(link);
  await symlink('elsewhere/pair.pem', link);
  const result = await store.rollBack(serialOf(pairs, 1));
  assertKind(result, 'impossible');
  assert.match(result.reason, /is in another directory$/);
});

test('rollBack() does not link a key pair that was rolled back', async (t) => {
  const { store, clock, link, pairs } = await stored(t, [{}, newer]);
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'rolled-back');
  // The only other key pair was rolled back before.
  assertKind(await store.rollBack(serialOf(pairs, 0)), 'impossible');
  clock.jump(minute);
  const next = await makePair({ notBefore: present - minute });
  await store.write(secretOf(next));
  const result = await store.rollBack(next.serial);
  assertKind(result, 'rolled-back');
  assert.equal(result.pair.serial, serialOf(pairs, 0));
  assert.equal(requireWholePair(await readFile(link)), serialOf(pairs, 0));
});

test('inspect() does not link a rolled-back key pair, and keeps it for now', async (t) => {
  const config = { config: { previousPairs: 1 } };
  const { store, clock, directory, link, put, pairs } = await stored(t, [{}, newer], config);
  const oldest = await makePair({ notBefore: present - 2 * day });
  await put(oldest, 3 * day);
  const from = basename(await readlink(link));
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'rolled-back');
  const { pair, findings } = await store.inspect();
  assert.equal(pair?.serial, serialOf(pairs, 0));
  assert.deepEqual(findings, []);
  await rm(await readlink(link));
  assert.equal((await store.inspect()).pair?.serial, oldest.serial);
  assert.ok((await readdir(directory)).includes(from));

  clock.jump(minute);
  const { findings: after } = await store.write(secretOf(await makePair()));
  assert.deepEqual(
    after.map(({ kind, path }) => `${kind} ${basename(path)}`),
    [`pair-pruned ${from}`],
  );
  const kept = (await readdir(directory)).filter((file) => file.includes('rolled-back'));
  assert.equal(kept.length, 1);
});

test('inspect() links a rolled-back key pair if there is no other', async (t) => {
  const { store, link, pairs } = await stored(t, [{}, newer]);
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'rolled-back');
  await rm(await readlink(link));
  assert.equal((await store.inspect()).pair?.serial, serialOf(pairs, 1));
});

test('write() keeps the last three of all files that were set aside', async (t) => {
  const { store, clock, directory, pairs } = await stored(t, [{}]);
  for (let count = 0; count < 5; count += 1) {
    const pair = await makePair({ notBefore: present - hour });
    await store.write(secretOf(pair));
    clock.jump(minute);
    assertKind(await store.rollBack(pair.serial), 'rolled-back');
    clock.jump(minute);
  }
  await store.write(secretOf(await makePair()));
  const kept = (await readdir(directory)).filter((file) => file.includes('rolled-back'));
  assert.equal(kept.length, 3);
  const left = (await readdir(directory)).filter((file) => file.endsWith('.pem'));
  const serials = await Promise.all(
    left.map(async (file) => requireWholePair(await readFile(join(directory, file)))),
  );
  assert.ok(serials.includes(serialOf(pairs, 0)), 'the pair that was always gone back to is gone');
});

test('rollBack() notifies a watcher of the rolled-back key pair', async (t) => {
  const { store, link, pairs } = await stored(t, [{}, newer]);
  const watcher = watch(link);
  t.after(() => watcher.close());
  const events: string[] = [];
  watcher.on('change', (type) => events.push(type));
  assertKind(await store.rollBack(serialOf(pairs, 1)), 'rolled-back');
  // The second name is one event, and setting the mode is the next.
  while (events.length < 2) await once(watcher, 'change');
});

test('rollBack() never shows a reader a missing, torn or mismatched pair', async (t) => {
  const { store, clock, link } = await stored(t, [{}], { config: { previousPairs: 0 } });
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const reader = new Worker(new URL('reader.worker.ts', import.meta.url), {
    workerData: { link, shared },
  });
  await once(reader, 'message');
  for (let count = 0; count < 15; count += 1) {
    clock.jump(second);
    const pair = await makePair({ notBefore: present - hour });
    await store.write(secretOf(pair));
    assertKind(await store.rollBack(pair.serial), 'rolled-back');
    await store.inspect();
  }
  const report = once(reader, 'message');
  Atomics.store(shared, 0, 1);
  const [{ reads, faults }] = (await report) as [{ reads: number; faults: string[] }];
  t.diagnostic(`${reads} reads`);
  assert.deepEqual(faults, []);
  assert.ok(reads > 30, `only ${reads} reads`);
});
