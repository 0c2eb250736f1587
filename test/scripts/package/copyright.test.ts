import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyrightFile } from '../../../scripts/package/copyright.ts';
import { bundledPackages, readBundled } from '../../../scripts/package/licenses.ts';
import { runtimeLicense } from '../../../scripts/package/runtime.ts';
import { programPieces } from '../../../scripts/program-pieces.ts';

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-licenses-'));
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** An npm package with these files. */
async function npmPackage(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = join(directory, name);
  await mkdir(folder);
  const manifest = {
    name,
    version: '1.0.0',
    license: 'MIT',
    author: 'Ann Author <ann@example.com>',
  };
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
  return folder;
}

describe('readBundled()', () => {
  it('throws for a package without a license text', async () => {
    const folder = await npmPackage('bare', { 'README.md': 'License: MIT' });
    await assert.rejects(readBundled(folder), /bare 1\.0\.0 has no license text/);
  });

  it('includes notices', async () => {
    const folder = await npmPackage('noticed', { NOTICE: 'Look here.', 'license.txt': 'Do.' });
    assert.equal((await readBundled(folder)).text, 'Look here.\n\nDo.');
  });
});

describe('copyrightFile()', () => {
  it('contains the whole text and its holders, without an empty line', async () => {
    const text = 'MIT License\n\nCopyright (c) 2020 Somebody\n\nPermission is\n  hereby granted';
    const folder = await npmPackage('one', { LICENSE: text });
    const stanza = copyrightFile([await readBundled(folder)])
      .split('\n\n')
      .at(-1);
    assert.match(
      stanza ?? '',
      /^Files: .*one\/\*\nCopyright: \(c\) 2020 Somebody\nLicense: MIT-one\n MIT License\n \.\n Copyright \(c\) 2020 Somebody\n \.\n Permission is\n {3}hereby granted\nComment: one 1\.0\.0\n$/,
    );
  });

  it('names the author when the license has no name', async () => {
    const folder = await npmPackage('nobody', {
      LICENSE: 'Copyright (c) 2018\n\nCopyright notice',
    });
    assert.match(copyrightFile([await readBundled(folder)]), /^Copyright: \(c\) 2018 Ann Author$/m);
  });

  it('has a stanza for Node and for every npm package of the bundle', async () => {
    const packages = await bundledPackages(await programPieces('dist/lib'));
    const text = copyrightFile([await runtimeLicense(), ...packages]);
    for (const name of ['undici', 'valibot', '@peculiar/x509', 'chokidar', 'Node.js']) {
      assert.match(text, new RegExp(`^Comment: ${name} \\d`, 'm'));
    }
    assert.match(text, /^ - OpenSSL, located at deps\/openssl/m);
    assert.equal(text.match(/^Files: /gm)?.length, packages.length + 2);
    // deb822(5): a stanza ends at an empty line, and a field begins at the margin.
    for (const stanza of text.trimEnd().split('\n\n').slice(1)) {
      assert.match(stanza, /^Files: \S+\nCopyright: [^\n]+\n( .+\n)*License: \S+\n/);
    }
  });
});
