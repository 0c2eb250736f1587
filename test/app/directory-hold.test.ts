import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DirectoryHold } from '../../src/app/directory-hold.ts';
import { lockDirectory, lockFile } from '../../src/store/directory-lock.ts';
import { second } from '../../src/core/instant.ts';
import { RecordingLogger } from '../keeper/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('DirectoryHold', () => {
  let directory: string;
  let logger: RecordingLogger;
  let clock: FakeClock;
  beforeEach(async () => {
    logger = new RecordingLogger();
    clock = new FakeClock();
    directory = join(await mkdtemp(join(tmpdir(), 'nodecertd-hold-')), 'pki');
  });
  afterEach(async () => {
    await rm(join(directory, '..'), { recursive: true });
  });

  it('renew() does nothing while the lock holds or nothing can be locked', async () => {
    await using hold = await DirectoryHold.take({ directory, clock, logger });
    await hold.renew();
    await rm(directory, { recursive: true });
    await hold.renew();
    assert.deepEqual(logger.lines, []);
    await assert.rejects(
      lockDirectory(directory).then(() => hold.renew()),
      { code: 'STORE_LOCKED' },
    );
  });

  it('renew() locks a recreated directory once', async () => {
    await using hold = await DirectoryHold.take({ directory, clock, logger });
    await rm(directory, { recursive: true });
    await mkdir(directory);
    await hold.renew();
    await hold.renew();
    assert.deepEqual(logger.take(), ['lock_renewed']);
    await assert.rejects(lockDirectory(directory), { code: 'STORE_LOCKED' });
  });

  it('renew() recreates a removed lock file after a second', async () => {
    await using hold = await DirectoryHold.take({ directory, clock, logger });
    await rm(join(directory, lockFile));
    await hold.renew();
    await clock.advance(second - 1);
    await hold.renew();
    assert.equal(existsSync(join(directory, lockFile)), false);
    await clock.advance(1);
    await hold.renew();
    assert.deepEqual(logger.take(), ['lock_renewed']);
    await assert.rejects(lockDirectory(directory), { code: 'STORE_LOCKED' });
  });

  it('renew() continues without a lock, logs that once, and locks later', async () => {
    await using hold = await DirectoryHold.take({ directory, clock, logger });
    await rm(join(directory, lockFile));
    await mkdir(join(directory, lockFile));
    await hold.renew();
    await hold.renew();
    assert.deepEqual(logger.take(), ['lock_unavailable']);
    await rm(join(directory, lockFile), { recursive: true });
    await hold.renew();
    await clock.advance(second);
    await hold.renew();
    assert.deepEqual(logger.take(), ['lock_renewed']);
    await writeFile(join(directory, 'other'), '');
    await hold.renew();
    assert.deepEqual(logger.take(), []);
  });
});
