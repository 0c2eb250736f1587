import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { exists } from '../../src/sys/exists.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { withoutAccess } from '../support/without-access.ts';

describe('exists()', () => {
  it('is true for a file and a directory, and false for a dangling link', async (context) => {
    const directory = await temporaryDirectory(context);
    const [file, link] = [join(directory, 'file'), join(directory, 'link')];
    await writeFile(file, '');
    await symlink(join(directory, 'none'), link);
    const found = await Promise.all([file, directory, link, join(file, 'below')].map(exists));
    assert.deepEqual(found, [true, true, false, false]);
  });

  it('is true for a path that this user may not inspect', async (context) => {
    const directory = join(await temporaryDirectory(context), 'closed');
    await mkdir(directory);
    assert.equal(await withoutAccess(directory, () => exists(join(directory, 'x'))), true);
  });
});
