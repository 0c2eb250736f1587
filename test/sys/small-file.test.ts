import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { readSmallFile } from '../../src/sys/small-file.ts';
import { temporaryFolder } from '../kube/support/api-server.ts';

describe('readSmallFile()', () => {
  it('readSmallFile() reads up to the limit and refuses a byte more', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, 'twelve bytes');
    assert.equal(Buffer.from(await readSmallFile(path, 12)).toString(), 'twelve bytes');
    await assert.rejects(readSmallFile(path, 11), /longer than 11 bytes/);
  });

  it('readSmallFile() is not held up by a named pipe, nor taken in by a folder', async () => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    await assert.rejects(readSmallFile(pipe, 10), /not a regular file/);
    const directory = join(folder.path, 'directory');
    await mkdir(directory);
    await assert.rejects(readSmallFile(directory, 10), /not a regular file/);
  });
});
