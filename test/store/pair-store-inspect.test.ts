import assert from 'node:assert/strict';
import { once } from 'node:events';
import { watch } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { pairFile } from '../../src/store/pair-names.ts';
import type { TestPair } from './pairs.ts';
import { makePair, present, requireWholePair, secretOf, temporaryDirectory } from './pairs.ts';
import { bench, kinds, name } from './store-bench.ts';

test('inspect() completes an interrupted swap of a kubelet', async (t) => {
  const { store, put, at, link } = await bench(t);
  const pair = await makePair();
  const file = await put(pair, hour);
  await symlink(at(file), at(`${name}-updated.pem`));
  const { pair: facts, findings } = await store.inspect();
  assert.equal(facts?.serial, pair.serial);
  assert.deepEqual(kinds(findings), ['swap-completed']);
  assert.equal(await readlink(link), at(file));
});

test('inspect() keeps the updated link of a kubelet beside a current one', async (t) => {
  const { store, put, at } = await bench(t);
  const file = await put(await makePair(), hour);
  await store.write(secretOf(await makePair()));
  await symlink(at(file), at(`${name}-updated.pem`));
  assert.deepEqual((await store.inspect()).findings, []);
  assert.equal(await readlink(at(`${name}-updated.pem`)), at(file));
});

test('inspect() replaces a plain file with a link to its key pair', async (t) => {
  const { store, link, at } = await bench(t);
  const pair = await makePair();
  await writeFile(link, pair.pem, { mode: 0o644 });
  const issuedAt = new Date(present - 3 * day);
  await utimes(link, issuedAt, issuedAt);
  const { pair: facts, findings } = await store.inspect();
  assert.deepEqual(kinds(findings), ['pair-adopted']);
  assert.equal(await readlink(link), at(pairFile(name, present)));
  assert.equal(facts?.path, at(pairFile(name, present)));
  assert.equal(facts.storedAt, issuedAt.getTime());
  assert.deepEqual(await readFile(link), pair.pem);
  assert.equal((await stat(link)).mode & 0o7777, 0o600);
});

for (const [title, put] of [
  ['garbage', async (link: string) => writeFile(link, 'garbage')],
  ['nothing', async (link: string) => writeFile(link, '')],
  ['a directory', async (link: string) => mkdir(link)],
] as const) {
  test(`inspect() sets ${title} aside and links the newest key pair`, async (t) => {
    const { store, link, put: putPair, at } = await bench(t);
    const pair = await makePair();
    const file = await putPair(pair, hour);
    await put(link);
    const { pair: facts, findings } = await store.inspect();
    assert.equal(facts?.serial, pair.serial);
    assert.deepEqual(kinds(findings), ['pair-set-aside', 'link-repaired']);
    assert.equal(await readlink(link), at(file));
    const aside = pairFile('', present).slice(1).replace('.pem', '');
    await stat(`${link}.corrupt-${aside}`);
  });
}

const damages: readonly (readonly [
  title: string,
  pem: (pair: TestPair, other: TestPair) => Uint8Array,
])[] = [
  ['emptied by a power cut', () => new Uint8Array()],
  ['filled with zeros', () => new Uint8Array(900)],
  ['cut off', (pair) => pair.pem.subarray(0, -30)],
  ['stored with another key', (pair, other) => Buffer.concat([pair.certificatePem, other.keyPem])],
];

for (const [title, damage] of damages) {
  test(`inspect() sets a linked file aside that was ${title}`, async (t) => {
    const { store, put, clock, link, at } = await bench(t);
    const older = await put(await makePair({ notBefore: present - 2 * day }), 2 * day);
    const newer = await put(await makePair({ notBefore: present - day }), day);
    const { pair: broken } = await store.write(secretOf(await makePair({ notBefore: present })));
    const [pair, other] = [await makePair(), await makePair()];
    await writeFile(broken.path, damage(pair, other));
    await utimes(at(older), 2_000_000_000, 2_000_000_000);
    clock.jump(second);
    const { pair: facts, findings } = await store.inspect();
    assert.equal(facts?.path, at(newer));
    assert.deepEqual(kinds(findings), ['link-repaired', 'pair-set-aside']);
    assert.equal(await readlink(link), at(newer));
    const aside = /kept as (?<file>\S+)$/.exec(findings[1]?.detail ?? '')?.groups?.['file'] ?? '';
    assert.match(aside, /\.pem\.corrupt-\d{4}(-\d\d){5}$/);
    assert.deepEqual(await readFile(at(aside)), Buffer.from(damage(pair, other)));
    const { pair: again, findings: none } = await store.inspect();
    assert.deepEqual([again, none], [facts, []]);
  });
}

test('inspect() replaces a dangling or missing link with the newest key pair', async (t) => {
  const { store, put, link, at } = await bench(t);
  const file = await put(await makePair(), hour);
  await symlink('/nowhere/x.pem', link);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  await unlink(link);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  assert.equal(await readlink(link), at(file));
});

test('inspect() repairs the link and keeps a bad file of another directory', async (t) => {
  const { store, put, link } = await bench(t);
  const elsewhere = join(await temporaryDirectory(t), 'foreign.pem');
  await writeFile(elsewhere, 'bad');
  await symlink(elsewhere, link);
  await put(await makePair(), hour);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  assert.equal(await readFile(elsewhere, 'utf8'), 'bad');
});

test('inspect() prefers issued and valid certificates, and links no expired one', async (t) => {
  const { store, put, link } = await bench(t);
  const expect = async (pair: TestPair | undefined): Promise<void> => {
    await rm(link, { force: true });
    assert.equal((await store.inspect()).pair?.serial, pair?.serial);
  };
  await put(await makePair({ notAfter: present - second }), day);
  await expect(undefined);
  const future = await makePair({ notBefore: present + hour });
  await put(future, 2 * day);
  await expect(future);
  const selfSigned = await makePair({ selfSigned: true, notAfter: present + 365 * day });
  await put(selfSigned, 3 * day);
  await expect(selfSigned);
  const issued = await makePair({ notBefore: present - 9 * day });
  await put(issued, 4 * day);
  await expect(issued);
});

test('inspect() reports an expired key pair and keeps it', async (t) => {
  const { store, link } = await bench(t);
  const pair = await makePair({ notAfter: present - day });
  await store.write(secretOf(pair));
  const { pair: facts, findings } = await store.inspect();
  assert.equal(facts?.notAfter, present - day);
  assert.deepEqual(findings, []);
  assert.deepEqual(await readFile(link), pair.pem);
});

test('inspect() throws on an unreadable file and sets nothing aside', async (t) => {
  const { store, put, link, directory } = await bench(t);
  const file = await put(await makePair(), hour);
  // Opens as a regular file, and reading it fails with EIO.
  await symlink('/proc/self/mem', link);
  await assert.rejects(store.inspect(), { code: 'STORE_IO', message: /cannot read/ });
  assert.deepEqual(await readdir(directory), [file, basename(link)]);
  assert.equal(await readlink(link), '/proc/self/mem');
});

test('inspect() throws on denied access and sets nothing aside', async (t) => {
  const { store, put, directory, at, link } = await bench(t);
  const [file, old] = [await put(await makePair(), hour), await put(await makePair(), day)];
  await chmod(directory, 0o755);
  await chmod(at(file), 0);
  await symlink(file, link);
  if (process.geteuid?.() === 0) {
    process.seteuid?.(65_534);
  }
  const inspected = store.inspect().finally(() => process.seteuid?.(process.getuid?.() ?? 0));
  await assert.rejects(inspected, { code: 'STORE_PERMISSIONS', message: /cannot read/ });
  assert.deepEqual(await readdir(directory), [old, file, basename(link)]);
  assert.equal(await readlink(link), file);
});

test('inspect() links the next best key pair if the best cannot be read', async (t) => {
  const { store, put, at, link } = await bench(t);
  await symlink('/proc/self/mem', at(pairFile(name, present - minute)));
  await assert.rejects(store.inspect(), { code: 'STORE_IO' });
  const pair = await makePair();
  await put(pair, hour);
  assert.equal((await store.inspect()).pair?.serial, pair.serial);
  requireWholePair(await readFile(link));
});

for (const [name, stem] of [
  ['kubelet-client', 'kubelet-client'],
  ['kubelet-server', 'kubelet-server'],
  ['kubelet-server', 'kubelet'],
] as const) {
  test(`inspect() copies and links ${stem}.crt and ${stem}.key for ${name}`, async (t) => {
    const { store, link, at } = await bench(t, { name });
    const pair = await makePair();
    await writeFile(at(`${stem}.crt`), pair.certificatePem);
    await writeFile(at(`${stem}.key`), pair.keyPem, { mode: 0o600 });
    const inspection = await store.inspect();
    assert.deepEqual(kinds(inspection.findings), ['pair-adopted']);
    assert.equal(inspection.pair?.path, at(pairFile(name, present)));
    assert.deepEqual(await readFile(link), pair.pem);
  });
}

test('inspect() ignores separate files that are incomplete, mixed up or expired', async (t) => {
  const { store, at, directory } = await bench(t);
  const [pair, other] = [await makePair(), await makePair()];
  const expired = await makePair({ notAfter: present - 1 });
  await writeFile(at(`${name}.crt`), pair.certificatePem);
  assert.deepEqual(await store.inspect(), { findings: [] });
  await writeFile(at(`${name}.key`), other.keyPem);
  assert.deepEqual(await store.inspect(), { findings: [] });
  await writeFile(at(`${name}.crt`), expired.certificatePem);
  await writeFile(at(`${name}.key`), expired.keyPem);
  assert.deepEqual(await store.inspect(), { findings: [] });
  assert.deepEqual(await readdir(directory), [`${name}.crt`, `${name}.key`]);
});

test('inspect() removes old key pairs that an interrupted write has left', async (t) => {
  const { store, put, at } = await bench(t, { config: { previousPairs: 0 } });
  const oldest = await put(await makePair({ notBefore: present - 9 * hour }), 9 * hour);
  const replaced = await put(await makePair({ notBefore: present - 5 * hour }), 5 * hour);
  const current = await put(await makePair(), hour);
  await symlink(at(current), at(`${name}-current.pem`));
  const { findings } = await store.inspect();
  assert.deepEqual(
    findings.map(({ kind, path }) => [kind, basename(path)]),
    [['pair-pruned', oldest]],
  );
  requireWholePair(await readFile(at(replaced)));
  assert.deepEqual((await store.inspect()).findings, []);
});

test('inspect() repeats the notification of an interrupted swap once', async (t) => {
  const { store, put, at, link, clock } = await bench(t);
  // The file system sets the change times, so the test uses the real clock.
  clock.jump(Date.now() + minute - clock.now());
  const notAfter = clock.now() + day;
  const earlier = at(await put(await makePair({ notAfter }), 2 * hour));
  await symlink(earlier, link);
  const watcher = watch(link);
  t.after(() => watcher.close());
  const event = once(watcher, 'change');
  await symlink(at(await put(await makePair({ notAfter }), hour)), at('swap'));
  await rename(at('swap'), link);
  // The second inspection if both changes fell into one tick of the kernel clock.
  do await store.inspect();
  while ((await changed(earlier)) <= (await changed(link)));
  await event;
  const before = await changed(earlier);
  assert.deepEqual((await store.inspect()).findings, []);
  assert.equal(await changed(earlier), before);
});

test('inspect() touches no file repeatedly if the link is from the future', async (t) => {
  const { store, at, put, link, clock } = await bench(t);
  clock.jump(Date.now() - hour - clock.now());
  const notAfter = clock.now() + day;
  const earlier = at(await put(await makePair({ notAfter }), 2 * hour));
  await symlink(at(await put(await makePair({ notAfter }), hour)), link);
  const before = await changed(earlier);
  await store.inspect();
  await store.inspect();
  assert.equal(await changed(earlier), before);
});

async function changed(path: string): Promise<number> {
  const { ctimeMs } = await lstat(path);
  return ctimeMs;
}
