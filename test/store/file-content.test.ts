import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { attributeCopier } from '../../src/store/file-attributes.ts';
import type { FileContent } from '../../src/store/file-content.ts';
import {
  copyContent,
  digestOf,
  readContent,
  replaceContents,
} from '../../src/store/file-content.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { findProgram, skipWithout } from '../support/programs.ts';
import { temporaryDirectory } from './pairs.ts';

interface Scene {
  readonly directory: string;
  readonly key: string;
  readonly certificate: string;
}

async function scene(context: TestContext): Promise<Scene> {
  const directory = await temporaryDirectory(context);
  const [key, certificate] = [join(directory, 'a.key'), join(directory, 'a.crt')];
  await writeFile(key, 'old key', { mode: 0o600 });
  await writeFile(certificate, 'old certificate', { mode: 0o644 });
  return { directory, key, certificate };
}

function contentOf(text: string, mode: string): FileContent {
  const bytes = new Uint8Array(Buffer.from(text));
  const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  return { bytes, state: { sha256: digestOf(bytes), mode, ...owner } };
}

async function contentAt(path: string): Promise<FileContent> {
  const content = await readContent(path);
  assert.ok(content !== undefined);
  return content;
}

const newKey = contentOf('new key', '0640');
const newCertificate = contentOf('new certificate', '0644');
const copyAttributes = attributeCopier(systemClock);

describe('replaceContents()', () => {
  it('replaces all files, with their modes', async (context) => {
    const { directory, key, certificate } = await scene(context);
    await replaceContents([
      { path: key, content: newKey },
      { path: certificate, content: newCertificate },
    ]);
    const found = [await contentAt(key), await contentAt(certificate)];
    const expected = [newKey, newCertificate];
    for (const [index, { bytes, state }] of found.entries()) {
      assert.deepEqual({ bytes, state }, expected[index]);
    }
    assert.deepEqual((await readdir(directory)).sort(), ['a.crt', 'a.key']);
  });

  it('restores the modification time that a copy has kept', async (context) => {
    const { directory, certificate } = await scene(context);
    await utimes(certificate, 1_700_000_000.345, 1_700_000_000.345);
    const before = await contentAt(certificate);
    const copy = join(directory, 'copy');
    await copyContent(copy, before);
    await replaceContents([{ path: certificate, content: newCertificate }]);
    assert.notEqual((await contentAt(certificate)).modifiedAt, before.modifiedAt);
    await replaceContents([{ path: certificate, content: await contentAt(copy) }]);
    assert.deepEqual(await contentAt(certificate), before);
  });

  it('replaces no file if one of them cannot be written', async (context) => {
    const { directory, key, certificate } = await scene(context);
    const files = [
      { path: key, content: newKey },
      { path: join(directory, 'missing/a.crt'), content: newCertificate },
    ];
    await assert.rejects(replaceContents(files), { code: 'STORE_IO' });
    assert.equal(await readFile(key, 'utf8'), 'old key');
    assert.equal(await readFile(certificate, 'utf8'), 'old certificate');
    assert.deepEqual((await readdir(directory)).sort(), ['a.crt', 'a.key']);
  });

  it('removes files without new content, after the others are replaced', async (context) => {
    const { directory, key, certificate } = await scene(context);
    const missing = join(directory, 'missing.crt');
    await replaceContents([
      { path: key, content: undefined },
      { path: certificate, content: newCertificate },
      { path: missing, content: undefined },
    ]);
    assert.equal(await readFile(certificate, 'utf8'), 'new certificate');
    assert.deepEqual(await readdir(directory), ['a.crt']);
  });

  it('removes no file if another one cannot be written', async (context) => {
    const { directory, key } = await scene(context);
    const files = [
      { path: key, content: undefined },
      { path: join(directory, 'missing/a.crt'), content: newCertificate },
    ];
    await assert.rejects(replaceContents(files), { code: 'STORE_IO' });
    assert.equal(await readFile(key, 'utf8'), 'old key');
  });

  it('leaves no temporary file when a rename fails', async (context) => {
    const { directory, key } = await scene(context);
    const blocked = join(directory, 'b.crt');
    await mkdir(join(blocked, 'x'), { recursive: true });
    const files = [
      { path: key, content: newKey },
      { path: blocked, content: newCertificate },
      { path: join(directory, 'c.crt'), content: newCertificate },
    ];
    await assert.rejects(replaceContents(files), { code: 'STORE_IO' });
    assert.deepEqual((await readdir(directory)).sort(), ['a.crt', 'a.key', 'b.crt']);
  });
});

describe('attributeCopier()', () => {
  it('keeps the content and the mode of the new file', async (context) => {
    const { key, certificate } = await scene(context);
    await copyAttributes(certificate, key);
    assert.equal(await readFile(key, 'utf8'), 'old key');
    assert.equal((await stat(key)).mode & 0o777, 0o644);
  });

  it('does nothing for a file that did not exist', async (context) => {
    const { directory, key } = await scene(context);
    await copyAttributes(join(directory, 'missing'), key);
    assert.equal(await readFile(key, 'utf8'), 'old key');
  });

  it('reports what cp says', async (context) => {
    const { directory, key } = await scene(context);
    await assert.rejects(copyAttributes(key, join(directory, 'missing/key')), {
      code: 'STORE_PERMISSIONS',
      message: /^cannot copy the extended attributes of .*: .*cp: cannot create /,
    });
  });

  it(
    'copies extended attributes',
    { skip: skipWithout('setfattr', 'getfattr') },
    async (context) => {
      const { key, certificate } = await scene(context);
      run('setfattr', '-n', 'user.origin', '-v', 'x', key);
      await copyAttributes(key, certificate);
      assert.match(run('getfattr', '-d', certificate), /user\.origin="x"/);
    },
  );

  it(
    'copies an access control list',
    { skip: skipWithout('setfacl', 'getfacl') },
    async (context) => {
      const { key, certificate } = await scene(context);
      await chmod(key, 0o640);
      run('setfacl', '-m', 'u:65534:r', key);
      await copyAttributes(key, certificate);
      assert.match(run('getfacl', '-n', certificate), /^user:65534:r--$/m);
    },
  );
});

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(findProgram(program) ?? program, args, { encoding: 'utf8', stdio: 'pipe' });
}
