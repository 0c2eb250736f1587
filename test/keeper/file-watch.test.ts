import assert from 'node:assert/strict';
import {
  chmod,
  mkdir,
  mkdtemp,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FSWatcher } from 'chokidar';
import { FileWatch } from '../../src/keeper/file-watch.ts';
import { until } from './fixtures.ts';

/** Records every callback. */
class Ear implements AsyncDisposable {
  readonly heard: string[] = [];
  #watch: FileWatch | undefined;

  static async open(watched: {
    files?: string[];
    folders?: string[];
    pairs?: string[];
  }): Promise<Ear> {
    const ear = new Ear();
    const onChange = (path: string): void => void ear.heard.push(path);
    ear.#watch = await FileWatch.open({ files: [], folders: [], pairs: [], ...watched, onChange });
    return ear;
  }

  /** Like each round of the keeper's loop. */
  async renew(): Promise<void> {
    await this.#watch?.renew();
  }

  async hears(what: string, act: () => Promise<unknown>): Promise<void> {
    const before = this.heard.length;
    await act();
    await until(`an event for ${what}`, () => this.heard.length > before);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
  }
}

describe('FileWatch', () => {
  let directory: string;
  let pki: string;
  let link: string;
  let target: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-watch-'));
    pki = join(directory, 'pki');
    link = join(pki, 'a-current.pem');
    target = join(pki, 'a-1.pem');
    await makePair();
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function makePair(): Promise<void> {
    await mkdir(pki);
    await writeFile(target, 'one');
    await symlink(target, link);
  }

  async function swap(file: string): Promise<void> {
    await writeFile(join(directory, file), file);
    await rename(join(directory, file), join(pki, file));
    await symlink(join(pki, file), join(directory, 'link'));
    await rename(join(directory, 'link'), link);
  }

  const changes: readonly (readonly [string, () => Promise<void>])[] = [
    ['a change of the link', () => swap('a-2.pem')],
    [
      'the link repointed to a missing file',
      async () => {
        await symlink('nowhere.pem', join(directory, 'link'));
        await rename(join(directory, 'link'), link);
      },
    ],
    ['the removal of the link', () => unlink(link)],
    ['the removal of the target', () => unlink(target)],
    ['junk in the target', () => writeFile(target, 'junk!')],
    ['other bytes of the same length in the target', () => writeFile(target, 'two')],
    ['an emptied target', () => truncate(target)],
    [
      'a file renamed over the target',
      async () => {
        await writeFile(join(directory, 'other'), 'other');
        await rename(join(directory, 'other'), target);
      },
    ],
    ['a target that other users may read', () => chmod(target, 0o666)],
    ['a directory that other users may write to', () => chmod(pki, 0o777)],
    ['the removal of the directory', () => rm(pki, { recursive: true })],
    ['a directory moved away', () => rename(pki, join(directory, 'away'))],
    [
      'a plain file renamed over the link',
      async () => {
        await writeFile(join(directory, 'other'), 'plain');
        await rename(join(directory, 'other'), link);
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`notices ${what}`, async () => {
      await using ear = await Ear.open({ pairs: [link] });
      await ear.hears(what, change);
    });
  }

  it('notices a change of the mode of a target that was read before', async () => {
    await utimes(target, new Date(), new Date(Date.now() - 60_000));
    await using ear = await Ear.open({ pairs: [link] });
    await ear.hears('the mode', () => chmod(target, 0o666));
  });

  it('notices each of many changes of the link', async () => {
    await using ear = await Ear.open({ pairs: [link] });
    for (let round = 2; round < 12; round += 1) {
      await ear.hears(`swap ${round}`, () => swap(`a-${round}.pem`));
    }
  });

  it('ignores other files', async () => {
    const file = join(pki, 'kubelet.conf');
    await using ear = await Ear.open({ pairs: [link], files: [file] });
    await writeFile(join(pki, 'b-1.pem'), 'of another pair');
    await writeFile(join(pki, 'a-1.txt'), 'no pair');
    await writeFile(join(directory, 'beside'), 'not in the directory');
    await writeFile(join(pki, 'kubelet.conf.swp'), 'of an editor');
    // Events come in order, so those of other files would have come before.
    await ear.hears('the file', () => mkdir(file));
    assert.deepEqual([...new Set(ear.heard)], [file]);
  });

  it('ignores other files in the directory of a single file', async () => {
    await using ear = await Ear.open({ files: [link] });
    await writeFile(target, 'junk');
    await chmod(pki, 0o755);
    await ear.hears('the link', () => unlink(link));
    assert.deepEqual([...new Set(ear.heard)], [link]);
  });

  it('notices changes in a folder and of the folder', async () => {
    const folder = join(directory, 'kubelet.d');
    await using ear = await Ear.open({ folders: [folder] });
    await ear.hears('the folder', () => mkdir(folder));
    await ear.renew();
    const dropIn = join(folder, '10.conf');
    await ear.hears('a new file', () => writeFile(dropIn, 'one'));
    await ear.hears('a file written in place', () => writeFile(dropIn, 'three'));
    await ear.hears('a file that goes', () => unlink(dropIn));
    await ear.hears('the folder, gone', () => rm(folder, { recursive: true }));
  });

  it('notices a new file in a new directory', async () => {
    const file = join(directory, 'later/kubelet.conf');
    await using ear = await Ear.open({ files: [file] });
    await ear.hears('the directory', () => mkdir(join(directory, 'later')));
    await ear.renew();
    await ear.hears('the file', () => writeFile(file, 'x'));
  });

  it('notices changes in a directory that was removed and created again', async () => {
    await using ear = await Ear.open({ pairs: [link] });
    for (const round of [1, 2, 3]) {
      await ear.hears(`removal ${round}`, () => rm(pki, { recursive: true }));
      await ear.renew();
      await ear.hears(`return ${round}`, makePair);
      await ear.renew();
      await ear.hears(`the target of round ${round}`, () => unlink(target));
    }
  });

  it('notices changes in a directory that replaced the watched one', async () => {
    await using ear = await Ear.open({ pairs: [link] });
    await rm(pki, { recursive: true });
    await makePair();
    await ear.renew();
    await ear.hears('the target', () => unlink(target));
  });

  it('notices changes in a directory that was renamed into place', async () => {
    await using ear = await Ear.open({ pairs: [link] });
    await rename(pki, join(directory, 'before'));
    await makePair();
    await ear.renew();
    await ear.hears('the target', () => writeFile(target, 'junk'));
  });

  it('notices changes through a link to a directory, and of that link', async () => {
    const linked = join(directory, 'linked');
    await symlink(pki, linked);
    await using ear = await Ear.open({ pairs: [join(linked, 'a-current.pem')] });
    await ear.hears('the target', () => writeFile(target, 'junk'));
    const next = join(directory, 'next');
    await mkdir(next);
    await symlink(next, join(directory, 'link'));
    await rename(join(directory, 'link'), linked);
    await ear.renew();
    await ear.hears('a pair there', () => writeFile(join(next, 'a-2.pem'), 'two'));
  });

  it('renew() keeps its watches while no directory changes', async (context) => {
    await using ear = await Ear.open({ pairs: [link] });
    await ear.renew();
    await ear.hears('a swap', () => swap('a-2.pem'));
    const { mock: closed } = context.mock.method(FSWatcher.prototype, 'close');
    for (let round = 0; round < 5; round += 1) await ear.renew();
    assert.equal(closed.callCount(), 0);
    await rename(pki, join(directory, 'away'));
    await ear.renew();
    assert.equal(closed.callCount(), 1);
  });
});
