import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readdir,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { StoreConfig } from '../../src/core/config.ts';
import type { Finding } from '../../src/core/enrollment.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { pairFile } from '../../src/store/pair-names.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tmpfsDirectory } from './mounts.ts';
import type { TestPair } from './pairs.ts';
import {
  makePair,
  present,
  requireWholePair,
  secretOf,
  storeConfig,
  temporaryDirectory,
} from './pairs.ts';

const name = 'kubelet-client';

interface Bench {
  readonly directory: string;
  readonly link: string;
  readonly clock: FakeClock;
  readonly store: PairStore;
  readonly at: (file: string) => string;
  /** A pair file of the past that nothing links to. */
  readonly put: (pair: TestPair, ago: number) => Promise<string>;
}

async function bench(
  context: TestContext,
  options: { config?: Partial<StoreConfig>; directory?: string } = {},
): Promise<Bench> {
  const directory = options.directory ?? (await realpath(await temporaryDirectory(context)));
  const clock = new FakeClock(present);
  const config = { ...storeConfig, ...options.config };
  const at = (file: string): string => join(directory, file);
  return {
    directory,
    clock,
    at,
    link: at(`${name}-current.pem`),
    store: new PairStore({ directory, name, clock, config }),
    put: async (pair, ago) => {
      const file = pairFile(name, present - ago);
      await writeFile(at(file), pair.pem, { mode: 0o600 });
      return file;
    },
  };
}

function kinds(findings: readonly Finding[]): string[] {
  return findings.map(({ kind }) => kind);
}

test('inspect() finds nothing in an empty or missing directory, and makes none', async (t) => {
  const { store, directory } = await bench(t);
  assert.deepEqual(await store.inspect(), { findings: [] });
  await rm(directory, { recursive: true });
  assert.deepEqual(await store.inspect(), { findings: [] });
  await assert.rejects(stat(directory), { code: 'ENOENT' });
});

test('write() makes directory, pair and link as the kubelet has them', async (t) => {
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
  assert.deepEqual(await store.inspect(), { pair: facts, findings: [] });
  assert.deepEqual((await store.peek())?.facts, facts);
});

test('write() links by name alone when told to', async (t) => {
  const { store, link } = await bench(t, { config: { relativeLinks: true } });
  await store.write(secretOf(await makePair()));
  assert.equal(await readlink(link), pairFile(name, present));
});

test('write() keeps pairs of one second apart', async (t) => {
  const { store, link } = await bench(t);
  const pairs = [await makePair(), await makePair(), await makePair()];
  for (const pair of pairs) await store.write(secretOf(pair));
  assert.equal(basename(await readlink(link)), pairFile(name, present, 2));
  assert.deepEqual(await readFile(link), pairs[2]?.pem);
});

test('write() refuses what is no pair before anything touches the disk', async (t) => {
  const { store, directory } = await bench(t);
  const [pair, other] = [await makePair(), await makePair()];
  const mixed = { ...pair, pem: Buffer.concat([pair.certificatePem, other.keyPem]) };
  const torn = { ...pair, pem: pair.pem.subarray(0, -40) };
  await assert.rejects(store.write(secretOf(mixed)), { code: 'CERT_KEY_MISMATCH' });
  await assert.rejects(store.write(secretOf(torn)), { code: 'PAIR_MALFORMED' });
  assert.deepEqual(await readdir(directory), []);
});

test('write() keeps the current pair and the configured number of others', async (t) => {
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

test('write() never removes the pair just replaced: a reader may be about to open it', async (t) => {
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

test('write() prunes by the dates of the certificates, and leaves what another link uses', async (t) => {
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

test('write() keeps the three latest of the files set aside', async (t) => {
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

test('write() succeeds although an old pair cannot be removed, and says so', async (t) => {
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

test('write() leaves the old pair and nothing of the new one on a full disk', async (t) => {
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

test('write() leaves the old pair when the link cannot be replaced', async (t) => {
  const { store, link, directory } = await bench(t);
  const pair = await makePair();
  await store.write(secretOf(pair));
  try {
    // Names may be added to the directory, but none may be replaced or removed.
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

test('write() removes the new file when the link cannot be made', async (t) => {
  const { directory, clock } = await bench(t);
  // Room for the name of a pair in the 255 bytes of a file name, but not for a temporary one.
  const name = 'n'.repeat(225);
  const store = new PairStore({ directory, name, clock, config: storeConfig });
  await assert.rejects(store.write(secretOf(await makePair())), { message: /create the link/ });
  assert.deepEqual(await readdir(directory), []);
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

test('inspect() completes the swap of a kubelet that was cut short', async (t) => {
  const { store, put, at, link } = await bench(t);
  const pair = await makePair();
  const file = await put(pair, hour);
  await symlink(at(file), at(`${name}-updated.pem`));
  const { pair: facts, findings } = await store.inspect();
  assert.equal(facts?.serial, pair.serial);
  assert.deepEqual(kinds(findings), ['swap-completed']);
  assert.equal(await readlink(link), at(file));
});

test('inspect() leaves the updated link of a kubelet alone while there is a current one', async (t) => {
  const { store, put, at } = await bench(t);
  const file = await put(await makePair(), hour);
  await store.write(secretOf(await makePair()));
  await symlink(at(file), at(`${name}-updated.pem`));
  assert.deepEqual((await store.inspect()).findings, []);
  assert.equal(await readlink(at(`${name}-updated.pem`)), at(file));
});

test('inspect() removes temporary links of its own name only', async (t) => {
  const { store, at, directory } = await bench(t);
  const { pair } = await store.write(secretOf(await makePair()));
  const stray = `.nodecertd-00112233aabbccdd.${name}`;
  await symlink('x', at(`${stray}-current.pem`));
  await symlink('x', at(`${stray}-2-current.pem`));
  const inspection = await store.inspect();
  assert.deepEqual(inspection.pair, pair);
  assert.deepEqual(kinds(inspection.findings), ['stray-removed']);
  assert.ok((await readdir(directory)).includes(`${stray}-2-current.pem`));
});

test('inspect() takes rights of group and others away', async (t) => {
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

test('inspect() refuses a directory shared by all users rather than taking it for itself', async (t) => {
  const { store, directory } = await bench(t);
  await chmod(directory, 0o1777);
  await assert.rejects(store.inspect(), { code: 'STORE_PERMISSIONS', remedy: /shared/ });
  assert.equal((await stat(directory)).mode & 0o7777, 0o1777);
});

test('inspect() refuses a directory of somebody else that others may write to', async (t) => {
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

test('inspect() puts a link in the place of a plain file that holds a pair', async (t) => {
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
  test(`inspect() sets ${title} in the place of the link aside, and the newest pair takes over`, async (t) => {
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

test('write() adopts a plain file in the place of the link rather than losing it', async (t) => {
  const { store, link, at } = await bench(t);
  const [old, next] = [await makePair(), await makePair()];
  await writeFile(link, old.pem);
  const { findings } = await store.write(secretOf(next));
  assert.deepEqual(kinds(findings), ['pair-adopted']);
  assert.deepEqual(await readFile(link), next.pem);
  assert.deepEqual(await readFile(at(pairFile(name, present))), old.pem);
});

const damages: readonly (readonly [
  title: string,
  pem: (pair: TestPair, other: TestPair) => Uint8Array,
])[] = [
  ['emptied by a power cut', () => new Uint8Array()],
  ['filled with zeros', () => new Uint8Array(900)],
  ['cut off', (pair) => pair.pem.subarray(0, -30)],
  ['given the key of another', (pair, other) => Buffer.concat([pair.certificatePem, other.keyPem])],
];

for (const [title, damage] of damages) {
  test(`inspect() sets a linked pair aside that was ${title}, and the newest takes over`, async (t) => {
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
    assert.deepEqual(await store.inspect(), { pair: facts, findings: [] });
  });
}

test('inspect() lets the newest pair take over from a link that leads nowhere or is gone', async (t) => {
  const { store, put, link, at } = await bench(t);
  const file = await put(await makePair(), hour);
  await symlink('/nowhere/x.pem', link);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  await unlink(link);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  assert.equal(await readlink(link), at(file));
});

test('inspect() repairs the link but leaves a bad file alone that lies elsewhere', async (t) => {
  const { store, put, link } = await bench(t);
  const elsewhere = join(await temporaryDirectory(t), 'foreign.pem');
  await writeFile(elsewhere, 'bad');
  await symlink(elsewhere, link);
  await put(await makePair(), hour);
  assert.deepEqual(kinds((await store.inspect()).findings), ['link-repaired']);
  assert.equal(await readFile(elsewhere, 'utf8'), 'bad');
});

test('inspect() prefers issued to self-signed, valid to not yet valid, and never takes an expired one', async (t) => {
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

test('inspect() reports an expired pair and leaves it where it is', async (t) => {
  const { store, link } = await bench(t);
  const pair = await makePair({ notAfter: present - day });
  await store.write(secretOf(pair));
  const { pair: facts, findings } = await store.inspect();
  assert.equal(facts?.notAfter, present - day);
  assert.deepEqual(findings, []);
  assert.deepEqual(await readFile(link), pair.pem);
});

test('inspect() throws what cannot be read, and sets nothing aside for it', async (t) => {
  const { store, put, link, directory } = await bench(t);
  const file = await put(await makePair(), hour);
  // Opens as a regular file, and answers EIO when read.
  await symlink('/proc/self/mem', link);
  await assert.rejects(store.inspect(), { code: 'STORE_IO', message: /cannot read/ });
  assert.deepEqual(await readdir(directory), [file, basename(link)]);
  assert.equal(await readlink(link), '/proc/self/mem');
});

test('inspect() throws what it may not read, and sets nothing aside for it', async (t) => {
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

test('inspect() takes the next best pair when another cannot be read, and throws if that was the last', async (t) => {
  const { store, put, at, link } = await bench(t);
  await symlink('/proc/self/mem', at(pairFile(name, present - minute)));
  await assert.rejects(store.inspect(), { code: 'STORE_IO' });
  const pair = await makePair();
  await put(pair, hour);
  assert.equal((await store.inspect()).pair?.serial, pair.serial);
  requireWholePair(await readFile(link));
});

for (const [store, stem] of [
  ['kubelet-client', 'kubelet-client'],
  ['kubelet-server', 'kubelet-server'],
  ['kubelet-server', 'kubelet'],
] as const) {
  test(`inspect() adopts ${stem}.crt and ${stem}.key for ${store}`, async (t) => {
    const { directory, clock, at } = await bench(t);
    const pair = await makePair();
    await writeFile(at(`${stem}.crt`), pair.certificatePem);
    await writeFile(at(`${stem}.key`), pair.keyPem, { mode: 0o600 });
    const inspection = await new PairStore({
      directory,
      name: store,
      clock,
      config: storeConfig,
    }).inspect();
    assert.deepEqual(kinds(inspection.findings), ['pair-adopted']);
    assert.equal(inspection.pair?.path, at(pairFile(store, present)));
    assert.deepEqual(await readFile(at(`${store}-current.pem`)), pair.pem);
  });
}

test('inspect() adopts no split pair that is incomplete, mixed up or expired', async (t) => {
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

test('PairStore keeps names apart that share a prefix', async (t) => {
  const { directory, clock, at } = await bench(t);
  const config = { ...storeConfig, previousPairs: 0 };
  const open = (name: string): PairStore => new PairStore({ directory, name, clock, config });
  const [short, long] = [open('kubelet-server'), open('kubelet-server-2')];
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

test('PairStore lets calls wait for one another', async (t) => {
  const { store, link, directory } = await bench(t);
  const pairs = await Promise.all([makePair(), makePair(), makePair()]);
  const results = await Promise.all(
    pairs.flatMap((pair) => [store.write(secretOf(pair)), store.inspect()]),
  );
  assert.deepEqual(
    results.flatMap(({ findings }) => kinds(findings)),
    [],
  );
  assert.deepEqual(readFileSync(link), pairs[2]?.pem);
  assert.equal((await readdir(directory)).length, 4);
});
