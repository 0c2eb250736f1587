import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseFileSync, readBoundedFile, readSmallFile } from '../../src/sys/small-file.ts';
import { temporaryDirectory } from '../store/pairs.ts';

const readers = [
  ['readSmallFile()', readSmallFile],
  [
    'parseFileSync()',
    async (path: string, limit: number) => parseFileSync(path, limit, (bytes) => bytes.slice()),
  ],
] as const;
for (const [name, read] of readers) {
  describe(name, () => {
    it('reads up to the limit and refuses a byte more', async (t) => {
      const path = join(await temporaryDirectory(t), 'file');
      await writeFile(path, 'twelve bytes');
      assert.equal(Buffer.from(await read(path, 12)).toString(), 'twelve bytes');
      await assert.rejects(read(path, 11), { message: 'has 12 bytes, more than 11' });
    });

    it('reads an empty file', async (t) => {
      const path = join(await temporaryDirectory(t), 'file');
      await writeFile(path, '');
      assert.equal((await read(path, 12)).length, 0);
    });

    it('reads a file of /proc, whose size is 0, to its end', async () => {
      assert.equal((await stat('/proc/self/status')).size, 0);
      const text = Buffer.from(await read('/proc/self/status', 100_000)).toString();
      assert.match(text, /^Name:[^]*nonvoluntary_ctxt_switches:\t\d+\n$/);
      await assert.rejects(read('/proc/self/status', 100), /has more than 100 bytes/);
    });
  });
}

for (const [name, read] of [
  ...readers.map(([name, read]) => [name, (path: string) => read(path, 10)] as const),
  ['readBoundedFile()', readBoundedFile],
] as const) {
  describe(name, () => {
    it('refuses a named pipe without waiting for a writer', async (t) => {
      const pipe = join(await temporaryDirectory(t), 'pipe');
      execFileSync('mkfifo', [pipe]);
      await assert.rejects(read(pipe), /is not a regular file/);
    });

    it('refuses a directory and a socket', async (t) => {
      const directory = await temporaryDirectory(t);
      await mkdir(join(directory, 'folder'));
      await assert.rejects(read(join(directory, 'folder')), /is not a regular file/);
      const server = createServer().listen(join(directory, 'socket'));
      await once(server, 'listening');
      await assert.rejects(read(join(directory, 'socket')), /is not a regular file/);
      server.close();
    });
  });
}

describe('parseFileSync()', () => {
  it('wipes the bytes after the parser has returned, or has thrown', async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    await writeFile(path, 'a key');
    const bytes = parseFileSync(path, 100, (view) => view);
    assert.deepEqual([...bytes], [0, 0, 0, 0, 0]);
    const views: Uint8Array[] = [];
    assert.throws(() => {
      parseFileSync(path, 100, (view) => {
        views.push(view);
        throw new Error('malformed');
      });
    }, /malformed/);
    assert.deepEqual([...(views[0] ?? [])], [0, 0, 0, 0, 0]);
  });

  it('reads files of any size one after the other', async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    for (const size of [3, 16_383, 16_384, 16_385, 100_000, 1]) {
      await writeFile(path, 'x'.repeat(size));
      const text = parseFileSync(path, 200_000, (bytes) => Buffer.from(bytes).toString());
      assert.equal(text, 'x'.repeat(size));
    }
  });
});

describe('readBoundedFile()', () => {
  it('names the path of an empty or too large file', async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    await writeFile(path, '');
    const empty = { code: 'PAIR_MALFORMED', message: `${path} is empty` };
    await assert.rejects(readBoundedFile(path), empty);
    await writeFile(path, Buffer.alloc(1024 * 1024 + 1));
    await assert.rejects(readBoundedFile(path), {
      message: /has 1048577 bytes, more than 1048576/,
    });
  });

  it('wipes the content when it is disposed', async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    await writeFile(path, 'secret');
    let bytes: Uint8Array;
    {
      using file = await readBoundedFile(path);
      bytes = file.content.expose();
      assert.equal(Buffer.from(bytes).toString(), 'secret');
    }
    assert.deepEqual([...bytes], [0, 0, 0, 0, 0, 0]);
  });
});
