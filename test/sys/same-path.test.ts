import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isSamePath } from '../../src/sys/same-path.ts';
import { temporaryDirectory } from '../store/pairs.ts';

test('isSamePath() resolves links, and compares missing paths as text', async (t) => {
  const directory = await temporaryDirectory(t);
  const [folder, link, other] = ['a', 'link', 'b'].map((name) => join(directory, name));
  for (const path of [folder, other]) await mkdir(path ?? '');
  await symlink('a', link ?? '');
  assert.equal(await isSamePath(folder ?? '', `${link}/`), true);
  assert.equal(await isSamePath(folder ?? '', other ?? ''), false);
  assert.equal(await isSamePath('/none/a', '/none/a'), true);
  assert.equal(await isSamePath('/none/a', '/none/b'), false);
});
