import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import {
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  makeDirectory,
  putFile,
  removeStrays,
  replaceFile,
  replaceLink,
  syncDirectory,
  writeNewFile,
} from '../../src/store/atomic-file.ts';
import { storeError } from '../../src/sys/file-error.ts';
import { tmpfsDirectory } from './mounts.ts';
import { temporaryDirectory } from './pairs.ts';

const content = Buffer.from('content');

for (const [umask, mode] of [
  [0o777, 0o644],
  [0o000, 0o600],
  [0o022, 0o666],
] as const) {
  test(`writeNewFile() sets mode ${mode.toString(8)} under umask ${umask.toString(8)}`, async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    const before = process.umask(umask);
    try {
      await writeNewFile(path, content, mode);
    } finally {
      process.umask(before);
    }
    assert.equal(statSync(path).mode & 0o7777, mode);
    assert.deepEqual(readFileSync(path), content);
  });
}

test('writeNewFile() refuses an existing file and a dangling link', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(join(directory, 'file'), 'old');
  await symlink('nowhere', join(directory, 'link'));
  for (const name of ['file', 'link']) {
    await assert.rejects(
      writeNewFile(join(directory, name), content, 0o600),
      (error: Error & { code?: string }) =>
        error.code === 'STORE_IO' && (error.cause as NodeJS.ErrnoException).code === 'EEXIST',
    );
  }
  assert.equal(await readFile(join(directory, 'file'), 'utf8'), 'old');
  assert.deepEqual(await readdir(directory), ['file', 'link']);
});

test('replaceFile() keeps the previous content on a full disk', async (t) => {
  const directory = await tmpfsDirectory(t);
  if (directory === undefined) return;
  const path = join(directory, 'file');
  await writeFile(path, 'old');
  await assert.rejects(replaceFile(path, Buffer.alloc(64 * 1024), 0o600), { code: 'STORE_FULL' });
  assert.equal(await readFile(path, 'utf8'), 'old');
  assert.deepEqual(await readdir(directory), ['file']);
});

test('replaceFile() reports a read-only file system', async (t) => {
  const directory = await tmpfsDirectory(t);
  if (directory === undefined) return;
  execFileSync('mount', ['-o', 'remount,ro', directory]);
  await assert.rejects(replaceFile(join(directory, 'file'), content, 0o600), {
    code: 'STORE_PERMISSIONS',
    remedy: /writable/,
  });
});

test('replaceFile() replaces content and mode', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'file');
  await writeFile(path, 'old', { mode: 0o600 });
  await replaceFile(path, content, 0o644);
  assert.deepEqual(await readFile(path), content);
  assert.equal((await stat(path)).mode & 0o7777, 0o644);
  assert.deepEqual(await readdir(directory), ['file']);
});

test('replaceLink() replaces a link and leaves no temporary link', async (t) => {
  const directory = await temporaryDirectory(t);
  const link = join(directory, 'link');
  await replaceLink({ link, target: 'a' });
  await replaceLink({ link, target: 'b' });
  assert.equal(await readlink(link), 'b');
  assert.deepEqual(await readdir(directory), ['link']);
});

test('replaceLink() removes its temporary link if it fails on a directory', async (t) => {
  const directory = await temporaryDirectory(t);
  const link = join(directory, 'link');
  await mkdir(link);
  await assert.rejects(replaceLink({ link, target: 'a' }), { code: 'STORE_IO' });
  assert.deepEqual(await readdir(directory), ['link']);
});

test('removeStrays() removes temporary files of this path only', async (t) => {
  const directory = await temporaryDirectory(t);
  const stray = `.nodecertd-0123456789abcdef.`;
  const others = [`${stray}link-2`, '.nodecertd.lock', stray, 'link'];
  for (const name of [...others, `${stray}link`]) await symlink('x', join(directory, name));
  const removed = await removeStrays(join(directory, 'link'));
  assert.deepEqual(removed, [join(directory, `${stray}link`)]);
  assert.deepEqual(new Set(await readdir(directory)), new Set(others));
});

test('putFile() uses no temporary name that a kubelet reads as a drop-in', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, '90-a.conf');
  const names: string[] = [];
  const check = async (): Promise<void> => void names.push(...(await readdir(directory)));
  await putFile(path, { bytes: content, mode: 0o644, check });
  const [temporary = ''] = names;
  assert.match(temporary, /^\.nodecertd-[0-9a-f]{16}\.90-a\.conf~$/);
  await writeFile(join(directory, temporary), 'cut short');
  assert.deepEqual(await removeStrays(path), [join(directory, temporary)]);
  assert.deepEqual(await readdir(directory), ['90-a.conf']);
});

test('makeDirectory() reports a read-only file system and a file in its place', async (t) => {
  const directory = await tmpfsDirectory(t);
  if (directory === undefined) return;
  await mkdir(join(directory, 'there'));
  await writeFile(join(directory, 'file'), '');
  await assert.rejects(makeDirectory(join(directory, 'file')), { code: 'STORE_IO' });
  await assert.rejects(makeDirectory(join(directory, 'file', 'a')), { code: 'STORE_IO' });
  execFileSync('mount', ['-o', 'remount,ro', directory]);
  await makeDirectory(join(directory, 'there'));
  await assert.rejects(makeDirectory(join(directory, 'a', 'b')), {
    code: 'STORE_PERMISSIONS',
    remedy: /Mount the file system/,
  });
});

test('makeDirectory() creates all levels and accepts existing ones', async (t) => {
  const directory = join(await temporaryDirectory(t), 'a', 'b', 'c');
  await makeDirectory(directory);
  await makeDirectory(directory);
  assert.ok((await lstat(directory)).isDirectory());
});

test('syncDirectory() fails on a missing directory', async () => {
  await assert.rejects(syncDirectory('/nowhere/at/all'), { code: 'STORE_IO' });
});

for (const [what, path] of [
  ['name', `/tmp/${'a'.repeat(256)}`],
  ['path', `/tmp${'/a'.repeat(2050)}`],
] as const) {
  test(`makeDirectory() asks for a shorter path if a ${what} is too long`, async () => {
    await assert.rejects(makeDirectory(path), {
      code: 'STORE_IO',
      remedy: /^Use a shorter path: /,
    });
  });
}

const codes: readonly (readonly [errno: string, code: string])[] = [
  ['ENOSPC', 'STORE_FULL'],
  ['EDQUOT', 'STORE_FULL'],
  ['EACCES', 'STORE_PERMISSIONS'],
  ['EPERM', 'STORE_PERMISSIONS'],
  ['EROFS', 'STORE_PERMISSIONS'],
  ['EMFILE', 'STORE_IO'],
  ['EIO', 'STORE_IO'],
];

for (const [errno, code] of codes) {
  test(`storeError() turns ${errno} into ${code} with path and remedy`, () => {
    const cause = Object.assign(new Error(`${errno}: it failed`), { code: errno });
    const error = storeError('write', '/pki/x.pem', cause);
    assert.equal(error.code, code);
    assert.equal(error.message, 'cannot write /pki/x.pem');
    assert.ok((error.remedy ?? '').length > 10);
  });
}
