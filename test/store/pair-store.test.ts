import assert from 'node:assert/strict';
import { chmod, chown, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hour, second } from '../../src/core/instant.ts';
import { tmpfsDirectory } from './mounts.ts';
import { makePair, secretOf } from './pairs.ts';
import { bench, kinds, name, storeIn } from './store-bench.ts';

test('inspect() finds nothing in an empty or missing directory', async (t) => {
  const { store, directory } = await bench(t);
  assert.deepEqual(await store.inspect(), { findings: [] });
  await rm(directory, { recursive: true });
  assert.deepEqual(await store.inspect(), { findings: [] });
  await assert.rejects(stat(directory), { code: 'ENOENT' });
});

for (const call of ['inspect', 'write'] as const) {
  test(`${call}() refuses a directory whose files are lost at a reboot`, async (t) => {
    const mount = await tmpfsDirectory(t);
    if (mount === undefined) return;
    const directory = join(mount, 'not', 'yet');
    const { store } = await bench(t, { directory, config: { acceptVolatileDirectory: false } });
    const run = call === 'inspect' ? store.inspect() : store.write(secretOf(await makePair()));
    await assert.rejects(run, { code: 'STORE_VOLATILE', message: /tmpfs/ });
    assert.deepEqual(await readdir(mount), []);
  });
}

test('inspect() removes temporary links of its own name only', async (t) => {
  const { store, at, directory } = await bench(t);
  const { pair } = await store.write(secretOf(await makePair()));
  const stray = `.nodecertd-00112233aabbccdd.${name}`;
  await symlink('x', at(`${stray}-current.pem`));
  await writeFile(at(`${stray}-2026-06-01-12-00-00.pem`), 'a part of a key');
  await symlink('x', at(`${stray}-2-current.pem`));
  const inspection = await store.inspect();
  assert.deepEqual(inspection.pair, pair);
  assert.deepEqual(kinds(inspection.findings), ['stray-removed', 'stray-removed']);
  assert.ok((await readdir(directory)).includes(`${stray}-2-current.pem`));
});

test('inspect() removes permissions of group and others', async (t) => {
  const { store, put, at, directory } = await bench(t);
  await store.write(secretOf(await makePair()));
  const old = await put(await makePair(), hour);
  await chmod(at(old), 0o644);
  await chmod(directory, 0o775);
  const { findings } = await store.inspect();
  assert.deepEqual(
    findings.map(({ kind, path }) => [kind, path]),
    [
      ['permissions-tightened', directory],
      ['permissions-tightened', at(old)],
    ],
  );
  assert.equal((await stat(at(old))).mode & 0o7777, 0o600);
  assert.equal((await stat(directory)).mode & 0o7777, 0o755);
  assert.deepEqual((await store.inspect()).findings, []);
});

for (const mode of [0o755, 0o700, 0o750]) {
  test(`inspect() accepts a directory of mode ${mode.toString(8)}`, async (t) => {
    const { store, directory } = await bench(t);
    await chmod(directory, mode);
    assert.deepEqual((await store.inspect()).findings, []);
  });
}

test('inspect() refuses a directory that all users share', async (t) => {
  const { store, directory } = await bench(t);
  await chmod(directory, 0o1777);
  await assert.rejects(store.inspect(), { code: 'STORE_PERMISSIONS', remedy: /all users share/ });
  assert.equal((await stat(directory)).mode & 0o7777, 0o1777);
});

test('inspect() refuses a directory of another user that others can write to', async (t) => {
  const { store, directory } = await bench(t);
  try {
    await chown(directory, 12_345, 12_345);
  } catch {
    t.skip('needs the right to give a directory away');
    return;
  }
  await chmod(directory, 0o775);
  await assert.rejects(store.inspect(), {
    code: 'STORE_PERMISSIONS',
    remedy: /chown .*chmod go-w/,
  });
});

test('PairStore distinguishes names with a common prefix', async (t) => {
  const config = { previousPairs: 0 };
  const { directory, clock, at, store: short } = await bench(t, { name: 'kubelet-server', config });
  const long = storeIn(directory, { name: 'kubelet-server-2', clock, config });
  const pair = await makePair();
  for (let count = 0; count < 3; count += 1) {
    await long.write(secretOf(pair));
    await short.write(secretOf(await makePair()));
    clock.jump(second);
  }
  await rm(at('kubelet-server-current.pem'));
  for (const file of (await readdir(directory)).filter((file) => /-server-2026/.test(file))) {
    await writeFile(at(file), 'bad');
  }
  assert.deepEqual(await short.inspect(), { findings: [] });
  assert.equal((await long.inspect()).pair?.serial, pair.serial);
});
