import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { version } from '../../src/core/version.ts';

const run = promisify(execFile);

let work = '';
before(async () => {
  work = await mkdtemp(join(tmpdir(), 'nodecertd-install-'));
});
after(async () => {
  await rm(work, { recursive: true });
});

/** Installs as the packager of another distribution would. */
async function makeInstall(prefix: string): Promise<string> {
  const root = join(work, 'root');
  const variables = [`DESTDIR=${root}`, `PREFIX=${prefix}`, `DIST=${join(work, 'dist')}`];
  // Without the variables of the make that runs this test.
  const env = { ...process.env, MAKEFLAGS: '', MAKEOVERRIDES: '' };
  await run('make', ['install', ...variables], { env, maxBuffer: 2 ** 24 });
  return root;
}

describe('make install', () => {
  it('installs a working program below any prefix', async () => {
    const root = await makeInstall('/opt/node-tools');
    const { stdout } = await run(join(root, 'opt/node-tools/bin/nodecertd'), ['--version']);
    assert.equal(stdout, `${version}\n`);
    const unit = await readFile(
      join(root, 'opt/node-tools/lib/systemd/system/nodecertd.service'),
      'utf8',
    );
    assert.match(unit, /^ExecStart=\/opt\/node-tools\/bin\/nodecertd run /m);
    const approver = await readFile(
      join(root, 'opt/node-tools/lib/systemd/system/nodecertd-approver.service'),
      'utf8',
    );
    assert.match(approver, /^ExecStart=\/opt\/node-tools\/bin\/nodecertd approver run /m);
    const share = join(root, 'opt/node-tools/share');
    for (const path of [
      'man/man1/nodecertd.1.gz',
      'man/man1/nodecertd-certs-check-expiration.1.gz',
      'zsh/site-functions/_nodecertd',
      'doc/nodecertd/copyright',
    ]) {
      assert.ok((await stat(join(share, path))).isFile(), path);
    }
    const config = await readFile(join(root, 'etc/nodecertd/config.yaml'), 'utf8');
    const lib = join(root, 'opt/node-tools/lib/nodecertd');
    for (const file of (await readdir(lib)).filter((name) => name.endsWith('.js'))) {
      // The name of the sandbox's CA, which must not be in the released program.
      assert.doesNotMatch(await readFile(join(lib, file), 'utf8'), /nodecertd-sandbox/, file);
    }
    assert.match(config, /\$schema=\/opt\/node-tools\/share\/nodecertd\/config\.schema\.json$/m);
  });

  it('keeps the configuration and removes files of another version', async () => {
    const root = join(work, 'root');
    const lib = join(root, 'usr/lib/nodecertd');
    const config = join(root, 'etc/nodecertd/config.yaml');
    await mkdir(lib, { recursive: true });
    await writeFile(join(lib, 'chunk-OF-BEFORE.js'), '');
    await writeFile(config, 'mine');
    await makeInstall('/usr');
    assert.equal(await readFile(config, 'utf8'), 'mine');
    const pieces = await readdir(lib);
    assert.deepEqual(
      [pieces.includes('chunk-OF-BEFORE.js'), pieces.includes('main.js')],
      [false, true],
    );
  });
});
