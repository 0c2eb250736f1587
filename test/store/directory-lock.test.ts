import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockDirectory } from '../../src/store/directory-lock.ts';
import { temporaryDirectory } from './pairs.ts';

test('lockDirectory() refuses a second holder until the first is disposed', async (t) => {
  const directory = join(await temporaryDirectory(t), 'pki');
  {
    await using lock = await lockDirectory(directory);
    assert.equal(lock.locked, true);
    await assert.rejects(lockDirectory(directory), {
      code: 'STORE_LOCKED',
      message: new RegExp(`${directory} .* pid ${process.pid}$`),
    });
  }
  await using again = await lockDirectory(directory);
  assert.equal(again.locked, true);
  assert.equal((await stat(join(directory, '.nodecertd.lock'))).mode & 0o7777, 0o600);
});

test('lockDirectory() is released when its holder is killed, not its child', async (t) => {
  const directory = await temporaryDirectory(t);
  const holder = spawn(
    process.execPath,
    [join(import.meta.dirname, 'lock-holder.process.ts'), directory],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [line] = (await once(holder.stdout, 'data')) as [Buffer];
  const [locked, child] = line.toString().trim().split(' ');
  t.after(() => process.kill(Number(child), 'SIGKILL'));
  assert.equal(locked, 'true');
  await assert.rejects(lockDirectory(directory), {
    code: 'STORE_LOCKED',
    message: new RegExp(`pid ${holder.pid}$`),
  });
  const ended = once(holder, 'exit');
  holder.kill('SIGKILL');
  await ended;
  process.kill(Number(child), 0);
  await using lock = await lockDirectory(directory);
  assert.equal(lock.locked, true);
  assert.equal(await readFile(join(directory, '.nodecertd.lock'), 'utf8'), `${process.pid}\n`);
});

for (const [title, script, reason] of [
  ['is not installed', undefined, /not installed/],
  ['cannot lock on this file system', '#!/bin/sh\nexit 71\n', /exited with code 71/],
] as const) {
  test(`lockDirectory() gives the reason when flock ${title}`, async (t) => {
    const directory = await temporaryDirectory(t);
    const path = process.env['PATH'];
    t.after(() => {
      process.env['PATH'] = path;
    });
    process.env['PATH'] = join(directory, 'bin');
    await mkdir(join(directory, 'bin'));
    if (script !== undefined) {
      await writeFile(join(directory, 'bin', 'flock'), script, { mode: 0o755 });
    }
    await using lock = await lockDirectory(directory);
    assert.equal(lock.locked, false);
    assert.match(lock.reason ?? '', reason);
  });
}

test('lockDirectory() does not follow a link at the path of its file', async (t) => {
  const directory = await temporaryDirectory(t);
  const victim = join(directory, 'victim');
  await writeFile(victim, 'precious');
  await symlink(victim, join(directory, '.nodecertd.lock'));
  await assert.rejects(lockDirectory(directory), { code: 'STORE_IO' });
  assert.equal(await readFile(victim, 'utf8'), 'precious');
});

test('lockDirectory() releases without an error even if closing fails', async (t) => {
  const directory = await realpath(await temporaryDirectory(t));
  const lock = await lockDirectory(directory);
  const descriptor = (await readdir('/proc/self/fd')).find((fd) => {
    const target = join('/proc/self/fd', fd);
    return existsSync(target) && readlinkSync(target) === join(directory, '.nodecertd.lock');
  });
  closeSync(Number(descriptor));
  await lock[Symbol.asyncDispose]();
});

test('state() notices a lock file that was removed or replaced', async (t) => {
  const directory = join(await temporaryDirectory(t), 'pki');
  await using lock = await lockDirectory(directory);
  assert.equal(await lock.state(), 'effective');
  await rm(join(directory, '.nodecertd.lock'));
  assert.equal(await lock.state(), 'file-missing');
  await rm(directory, { recursive: true });
  assert.equal(await lock.state(), 'effective');
  await mkdir(directory);
  assert.equal(await lock.state(), 'replaced');
  await using other = await lockDirectory(directory);
  assert.deepEqual([await lock.state(), await other.state()], ['replaced', 'effective']);
});
