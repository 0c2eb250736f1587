import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ChangedFiles, pairSignature } from '../../src/keeper/changed-files.ts';
import { temporaryDirectory } from '../store/pairs.ts';

describe('pairSignature()', () => {
  let directory: string;
  let link: string;
  let target: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-signature-'));
    link = join(directory, 'a-current.pem');
    target = join(directory, 'a-1.pem');
    await writeFile(target, 'one');
    await symlink(target, link);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  const changes: readonly (readonly [string, () => Promise<void>])[] = [
    [
      'the link names another file',
      async () => {
        await writeFile(join(directory, 'a-2.pem'), 'one');
        await symlink(join(directory, 'a-2.pem'), join(directory, 'new'));
        await rename(join(directory, 'new'), link);
      },
    ],
    [
      'the link names the same file in another way',
      async () => {
        await unlink(link);
        await symlink('a-1.pem', link);
      },
    ],
    ['the target is rewritten with the same size', () => writeFile(target, 'two')],
    [
      'the target is replaced',
      async () => {
        await writeFile(join(directory, 'new'), 'one');
        await rename(join(directory, 'new'), target);
      },
    ],
    ['the target is removed', () => unlink(target)],
    ['the link is removed', () => unlink(link)],
    ['other users may write to the directory', () => chmod(directory, 0o777)],
    ['other users may read the target', () => chmod(target, 0o644 ^ 0o040)],
    [
      'a plain file takes the place of the link',
      async () => {
        await unlink(link);
        await writeFile(link, 'one');
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`differs when ${what}`, async () => {
      const before = await pairSignature(link);
      assert.equal(await pairSignature(link), before);
      await change();
      assert.notEqual(await pairSignature(link), before);
    });
  }

  it('is the same while the pair is missing', async () => {
    const missing = join(directory, 'missing');
    const before = await pairSignature(missing);
    assert.equal(await pairSignature(missing), before);
    await chmod(directory, 0o755);
    assert.equal(await pairSignature(missing), before);
  });
});

describe('ChangedFiles', () => {
  it('returns each changed, new or removed file once', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-changed-'));
    try {
      const [a, b] = [join(directory, 'a'), join(directory, 'b')];
      await writeFile(a, 'one');
      const files = new ChangedFiles([a, b]);
      assert.deepEqual(await files.compare(), []);
      assert.deepEqual(await files.compare(), []);
      await writeFile(a, 'two!');
      await writeFile(b, 'new');
      assert.deepEqual(await files.compare(), [a, b]);
      await unlink(b);
      assert.deepEqual(await files.compare(), [b]);
      assert.deepEqual(await files.compare(), []);
      await writeFile(a, 'three');
      assert.deepEqual(await files.compare((file) => file === a), []);
      assert.deepEqual(await files.compare(), [a]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('returns a folder if a file below it changed', async (context) => {
    const directory = await temporaryDirectory(context);
    await mkdir(join(directory, 'below'));
    const [here, below] = [join(directory, 'a.conf'), join(directory, 'below/b.conf')];
    await writeFile(here, 'one');
    await writeFile(below, 'one');
    const files = new ChangedFiles([directory]);
    assert.deepEqual(await files.compare(), []);
    for (const change of [
      () => writeFile(here, 'three'),
      () => writeFile(below, 'three'),
      () => writeFile(join(directory, 'below/c.conf'), ''),
      () => unlink(below),
    ]) {
      await change();
      assert.deepEqual(await files.compare(), [directory]);
      assert.deepEqual(await files.compare(), []);
    }
  });
});
