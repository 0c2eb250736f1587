import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { describeError } from '../../src/core/errors.ts';
import { readTokenFile } from '../../src/kube/token-file.ts';
import { temporaryDirectory } from '../store/pairs.ts';

async function fileWith(context: TestContext, text: string): Promise<string> {
  const path = join(await temporaryDirectory(context), 'token');
  await writeFile(path, text);
  return path;
}

describe('readTokenFile()', () => {
  it('reads a token with white space around it', async (context) => {
    using token = await readTokenFile(await fileWith(context, ' abcdef.0123456789abcdef\n'));
    assert.equal(token.id, 'abcdef');
    assert.equal(Buffer.from(token.text.expose()).toString(), 'abcdef.0123456789abcdef');
  });

  const invalid = {
    'an empty file': '',
    'a kubeconfig': 'apiVersion: v1\nkind: Config\n',
    'two tokens': 'abcdef.0123456789abcdef\nfedcba.0123456789abcdef\n',
    'a large file': ' '.repeat(5_000),
  };
  for (const [what, text] of Object.entries(invalid)) {
    it(`refuses ${what} without its content`, async (context) => {
      const path = await fileWith(context, text);
      await assert.rejects(readTokenFile(path), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'KUBECONFIG_INVALID');
        const found = describeError(error);
        assert.ok(found.includes(path), found);
        assert.doesNotMatch(found, /fedcba|kind: Config/);
        return true;
      });
    });
  }

  it('names a missing file, and a directory', async (context) => {
    const directory = await temporaryDirectory(context);
    await assert.rejects(readTokenFile(join(directory, 'none')), { code: 'KUBECONFIG_MISSING' });
    await mkdir(join(directory, 'token'));
    await assert.rejects(readTokenFile(join(directory, 'token')), {
      code: 'KUBECONFIG_INVALID',
      message: `cannot read the token file ${join(directory, 'token')}`,
    });
  });
});
