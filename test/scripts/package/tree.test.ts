import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  conffiles,
  installedSize,
  md5sums,
  readTree,
  setTimes,
} from '../../../scripts/package/tree.ts';

let root = '';
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodecertd-tree-'));
  await mkdir(join(root, 'etc/nodecertd'), { recursive: true });
  await mkdir(join(root, 'usr/bin'), { recursive: true });
  await writeFile(join(root, 'etc/nodecertd/config.yaml'), 'a: 1\n');
  await writeFile(join(root, 'usr/bin/two'), '2'.repeat(1_025));
  await writeFile(join(root, 'usr/bin/one'), '');
  await symlink('two', join(root, 'usr/bin/link'));
});
after(async () => {
  await rm(root, { recursive: true });
});

describe('readTree()', () => {
  it('installedSize() counts blocks, folders and links', async () => {
    // Four folders, a link, and files of one, two and no blocks.
    assert.equal(installedSize(await readTree(root)), 4 + 1 + 1 + 2);
  });

  it('conffiles() are the files of /etc', async () => {
    assert.equal(conffiles(await readTree(root)), '/etc/nodecertd/config.yaml\n');
  });

  it('md5sums() match md5sum, without the configuration', async () => {
    const sums = await md5sums(root, await readTree(root));
    const output = execFileSync('md5sum', ['--check'], {
      cwd: root,
      input: sums,
      encoding: 'utf8',
    });
    assert.equal(output, 'usr/bin/one: OK\nusr/bin/two: OK\n');
  });

  it('setTimes() sets one time for everything', async () => {
    const date = new Date('2026-01-02T03:04:05Z');
    await setTimes(root, date);
    for (const path of ['.', 'usr/bin', 'usr/bin/one']) {
      assert.equal((await stat(join(root, path))).mtimeMs, date.getTime());
    }
  });
});
