import assert from 'node:assert/strict';
import { chmod, chown, lchown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { exposureOf } from '../../src/sys/exposure.ts';
import { skip as skipBecause } from '../support/programs.ts';

const unlessRoot =
  process.getuid?.() === 0 ? false : skipBecause('tests that give files to other users: not root');

async function assertExposed(path: string, culprit: string, remedy: string): Promise<void> {
  const exposure = await exposureOf(path);
  assert.ok(exposure !== undefined, `${path} is not exposed`);
  assert.ok(exposure.what.startsWith(`${culprit} `), exposure.what);
  assert.equal(exposure.remedy, `${remedy} ${culprit}`);
}

describe('exposureOf()', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    // Below the temporary directory, which all users can write to, but which is sticky.
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-exposure-'));
    await mkdir(join(directory, 'folder'), { mode: 0o755 });
    file = join(directory, 'folder/file');
    await writeFile(file, 'text', { mode: 0o755 });
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('accepts a file that only its owner can change', async () => {
    assert.equal(await exposureOf(file), undefined);
  });

  it('accepts the programs of this machine', async () => {
    assert.equal(await exposureOf('/bin/sh'), undefined);
  });

  for (const mode of [0o775, 0o757, 0o777]) {
    it(`reports mode ${mode.toString(8)} of the file`, async () => {
      await chmod(file, mode);
      await assertExposed(file, file, 'Fix the mode: chmod go-w');
      assert.match((await exposureOf(file))?.what ?? '', new RegExp(`mode 0${mode.toString(8)}`));
    });

    it(`reports mode ${mode.toString(8)} of a directory on the way`, async () => {
      await chmod(join(directory, 'folder'), mode);
      await assertExposed(file, join(directory, 'folder'), 'Fix the mode: chmod go-w');
    });
  }

  it('accepts a sticky directory, where users replace only their own files', async () => {
    await chmod(join(directory, 'folder'), 0o1777);
    assert.equal(await exposureOf(file), undefined);
  });

  it('reports a sticky file', async () => {
    await chmod(file, 0o1777);
    await assertExposed(file, file, 'Fix the mode: chmod go-w');
  });

  it('follows links and checks each directory on the way', async () => {
    await mkdir(join(directory, 'other'));
    await symlink('../other/next', join(directory, 'folder/link'));
    await symlink(file, join(directory, 'other/next'));
    const link = join(directory, 'folder/link');
    assert.equal(await exposureOf(link), undefined);
    await chmod(join(directory, 'other'), 0o777);
    await assertExposed(link, join(directory, 'other'), 'Fix the mode: chmod go-w');
    await chmod(join(directory, 'other'), 0o755);
    await chmod(file, 0o722);
    await assertExposed(link, file, 'Fix the mode: chmod go-w');
  });

  it('reports a loop of links', async () => {
    await symlink('b', join(directory, 'a'));
    await symlink('a', join(directory, 'b'));
    assert.match((await exposureOf(join(directory, 'a')))?.what ?? '', /is a loop of links/);
  });

  it('rejects a missing path', async () => {
    await assert.rejects(exposureOf(join(directory, 'none')), { code: 'ENOENT' });
  });

  it('reports a file, directory and link of another user', { skip: unlessRoot }, async () => {
    await chown(file, 12_345, 0);
    await assertExposed(file, file, 'Fix the owner: chown root');
    await chown(file, 0, 0);
    await chown(join(directory, 'folder'), 12_345, 0);
    await assertExposed(file, join(directory, 'folder'), 'Fix the owner: chown root');
    await chown(join(directory, 'folder'), 0, 0);
    const link = join(directory, 'link');
    await symlink(file, link);
    await lchown(link, 12_345, 0);
    await assertExposed(link, link, 'Fix the owner: chown -h root');
  });

  it('accepts files of the given user', { skip: unlessRoot }, async () => {
    await chown(directory, 12_345, 0);
    assert.equal(await exposureOf(file, 12_345), undefined);
    assert.match((await exposureOf(file, 54_321))?.what ?? '', /belongs to user 12345/);
  });
});
