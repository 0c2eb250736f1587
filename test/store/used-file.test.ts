import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import { changeTime, removeUsedFile } from '../../src/store/used-file.ts';
import { temporaryDirectory } from './pairs.ts';

async function file(context: TestContext): Promise<{ path: string; changedAt: number }> {
  const path = join(await temporaryDirectory(context), 'bootstrap-kubelet.conf');
  await writeFile(path, 'token');
  return { path, changedAt: Math.floor((await stat(path)).ctimeMs) };
}

describe('removeUsedFile()', () => {
  it('removes a file that is no newer than the certificate', async (context) => {
    const { path, changedAt } = await file(context);
    const [finding, ...others] = await removeUsedFile(path, changedAt);
    assert.deepEqual([finding?.kind, finding?.path, others], ['bootstrap-removed', path, []]);
    assert.ok(!existsSync(path));
    assert.deepEqual(await removeUsedFile(path, changedAt), []);
  });

  it('keeps a newer file, even if its modification time is old', async (context) => {
    const { path, changedAt } = await file(context);
    await utimes(path, 0, 0);
    assert.deepEqual(await removeUsedFile(path, changedAt - hour), []);
    assert.ok(existsSync(path));
  });

  it('removes a link and its target', async (context) => {
    const { path } = await file(context);
    const link = `${path}.link`;
    await symlink(path, link);
    await removeUsedFile(link, Date.now() + hour);
    assert.deepEqual([existsSync(path), existsSync(link)], [false, false]);
  });

  it('reports a file that cannot be removed, and does not throw', async (context) => {
    // unlink(2) refuses a directory for every user, root included.
    const directory = await temporaryDirectory(context);
    const [finding] = await removeUsedFile(directory, Date.now() + hour);
    assert.equal(finding?.kind, 'bootstrap-kept');
    assert.match(finding.detail, /EISDIR|EPERM/);
    assert.ok(existsSync(directory));
  });
});

describe('changeTime()', () => {
  it('is undefined for a missing file', async (context) => {
    const directory = await temporaryDirectory(context);
    assert.equal(await changeTime(join(directory, 'none')), undefined);
  });
});
