import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { watchFiles } from '../../src/agent/file-watch.ts';
import { until } from './fixtures.ts';

describe('watchFiles()', () => {
  let directory: string;
  let link: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-watch-'));
    await mkdir(join(directory, 'pki'));
    link = join(directory, 'pki/a-current.pem');
    await writeFile(join(directory, 'pki/a-1.pem'), 'one');
    await symlink(join(directory, 'pki/a-1.pem'), link);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function swap(target: string): Promise<void> {
    await writeFile(join(directory, 'pki', target), target);
    await symlink(join(directory, 'pki', target), `${link}.tmp`);
    await rename(`${link}.tmp`, link);
  }

  const changes: readonly (readonly [string, () => Promise<void>])[] = [
    ['a swap of the link', () => swap('a-2.pem')],
    ['the removal of the link', () => unlink(link)],
    [
      'a plain file in the place of the link',
      async () => {
        await unlink(link);
        await writeFile(link, 'plain');
      },
    ],
    [
      'a plain file renamed over the link',
      async () => {
        await writeFile(join(directory, 'pki/other'), 'plain');
        await rename(join(directory, 'pki/other'), link);
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`notices ${what}`, async () => {
      const seen: string[] = [];
      await using _ = await watchFiles([link], (file) => seen.push(file));
      await change();
      await until('an event', () => seen.includes(link));
    });
  }

  it('misses none of many swaps', async () => {
    let seen = 0;
    await using _ = await watchFiles([link], () => {
      seen += 1;
    });
    for (let round = 2; round < 12; round += 1) {
      const before = seen;
      await swap(`a-${round}.pem`);
      await until(`an event for swap ${round}`, () => seen > before);
    }
  });

  it('passes over other files of the directory', async () => {
    const seen: string[] = [];
    await using _ = await watchFiles([link], (file) => seen.push(file));
    await writeFile(join(directory, 'pki/b.pem'), 'other');
    await swap('a-2.pem');
    await until('an event', () => seen.length > 0);
    assert.deepEqual([...new Set(seen)], [link]);
  });

  it('notices a file that was not there, in a directory that was not there', async () => {
    const file = join(directory, 'later/kubelet.conf');
    const seen: string[] = [];
    await using _ = await watchFiles([file], (found) => seen.push(found));
    await mkdir(join(directory, 'later'));
    await writeFile(file, 'x');
    await until('an event', () => seen.includes(file));
  });

  it('goes on after the directory was removed and made again', async () => {
    let seen = 0;
    await using _ = await watchFiles([link], () => {
      seen += 1;
    });
    await rm(join(directory, 'pki'), { recursive: true });
    await until('an event for the removal', () => seen > 0);
    await mkdir(join(directory, 'pki'));
    const before = seen;
    await swap('a-3.pem');
    await until('an event in the new directory', () => seen > before);
  });

  it('sees into a directory that is itself a link', async () => {
    await symlink(join(directory, 'pki'), join(directory, 'linked'));
    const file = join(directory, 'linked/a-current.pem');
    const seen: string[] = [];
    await using _ = await watchFiles([file], (found) => seen.push(found));
    await swap('a-2.pem');
    await until('an event', () => seen.includes(file));
  });
});
