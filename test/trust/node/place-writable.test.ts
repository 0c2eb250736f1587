import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { requireWritable } from '../../../src/trust/node/place-writable.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { skip as skipBecause, skipWithout } from '../../support/programs.ts';

const source = new URL('../../../src/trust/node/place-writable.ts', import.meta.url).href;

/** The code of the error in a namespace where root is the only user, as with PrivateUsers=. */
function codeInSandbox(path: string): string {
  const check = `import { requireWritable } from ${JSON.stringify(source)};
    await requireWritable(${JSON.stringify(path)}).catch((error) => console.log(error.code));`;
  const node = [process.execPath, '--input-type=module', '--eval', check];
  const args = ['--user', '--map-root-user', ...node];
  return execFileSync('unshare', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
}

const skip =
  process.getuid?.() === 0
    ? skipWithout('unshare')
    : skipBecause('tests that give files to other users: not root');

describe('requireWritable()', () => {
  it('rejects a file whose owner the sandbox of the service hides', { skip }, async (t) => {
    const directory = await temporaryDirectory(t);
    const [own, foreign, overflow] = ['own', 'foreign', 'overflow'].map((name) =>
      join(directory, name),
    ) as [string, string, string];
    for (const path of [own, foreign, overflow]) await writeFile(path, '');
    await chown(foreign, 0, 1234);
    // The id that a user namespace shows for users that it does not map.
    await chown(overflow, 65_534, 65_534);
    assert.equal(codeInSandbox(own), '');
    assert.equal(codeInSandbox(foreign), 'STORE_PERMISSIONS');
    for (const path of [own, foreign, overflow]) await requireWritable(path);
  });
});
