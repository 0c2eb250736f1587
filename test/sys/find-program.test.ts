import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findProgram } from '../../src/sys/find-program.ts';

describe('findProgram()', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-find-'));
    for (const folder of ['a', 'b', 'c']) await mkdir(join(directory, folder));
    await mkdir(join(directory, 'a/tool'));
    await writeFile(join(directory, 'b/tool'), '', { mode: 0o644 });
    await writeFile(join(directory, 'c/tool'), '');
    await chmod(join(directory, 'c/tool'), 0o755);
    await symlink('tool', join(directory, 'c/link'));
  });
  after(() => rm(directory, { recursive: true }));

  const pathOf = (...folders: readonly string[]): string =>
    folders.map((folder) => join(directory, folder)).join(':');

  it('skips folders of that name and files that are not executable', async () => {
    const path = pathOf('missing', 'a', 'b', 'c');
    assert.equal(await findProgram('tool', path), join(directory, 'c/tool'));
  });

  it('follows links', async () => {
    assert.equal(await findProgram('link', pathOf('c')), join(directory, 'c/link'));
  });

  it('skips relative and empty folders of PATH', async () => {
    const relative = join('..', '..', '..', '..', '..', '..', '..', directory, 'c');
    assert.equal(await findProgram('tool', `:.:${relative}`), undefined);
  });

  it('returns a name with a slash unchanged', async () => {
    assert.equal(await findProgram('/no/such/tool', pathOf('c')), '/no/such/tool');
  });
});
