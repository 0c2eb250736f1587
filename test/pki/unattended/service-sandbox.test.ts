import assert from 'node:assert/strict';
import { chown, mkdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { sandboxNeeds, writableFolders } from '../../../src/pki/unattended/service-sandbox.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

describe('sandboxNeeds()', () => {
  it('are none for files of root in writable folders, and for missing files', async () => {
    const none = await sandboxNeeds(['/etc/passwd', '/etc/none.key'], ['/etc']);
    assert.deepEqual(none, { outside: [] });
  });

  it('name the first file that does not belong to root', async (context) => {
    const directory = await realpath(await temporaryDirectory(context));
    const files = ['server.crt', 'server.key'].map((name) => join(directory, name));
    for (const file of files) {
      await writeFile(file, '');
      // Without root, the file belongs to this user already.
      if (process.getuid?.() === 0) await chown(file, 0, 1);
    }
    const needs = await sandboxNeeds(['/etc/passwd', ...files], ['/etc', directory]);
    assert.deepEqual(needs, { outside: [], foreign: files[0] });
  });

  it('list each folder that the service cannot write, by the targets of links', async (context) => {
    const directory = await realpath(await temporaryDirectory(context));
    const kubernetes = join(directory, 'kubernetes');
    await mkdir(kubernetes);
    for (const name of ['passwd', 'group']) {
      await symlink(`/etc/${name}`, join(kubernetes, name));
    }
    const files = ['passwd', 'group'].map((name) => join(kubernetes, name));
    assert.deepEqual(await sandboxNeeds(files, [kubernetes]), { outside: ['/etc'] });
  });
});

describe('writableFolders', () => {
  it('are ReadWritePaths= of the unit', async () => {
    const unit = join(import.meta.dirname, '../../../systemd/nodecertd.service');
    const [, paths = ''] = /^ReadWritePaths=(.*)$/m.exec(await readFile(unit, 'utf8')) ?? [];
    assert.deepEqual(paths.split(' ').toSorted(), [...writableFolders].toSorted());
  });
});
