import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { StateKeeper } from '../../src/app/state-keeper.ts';
import { emptyState, readState } from '../../src/store/state-file.ts';
import { minute } from '../../src/core/instant.ts';
import { RecordingLogger, until } from '../keeper/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('StateKeeper', () => {
  let directory: string;
  const logger = new RecordingLogger();
  let clock: FakeClock;
  beforeEach(async () => {
    clock = new FakeClock();
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-state-'));
  });
  afterEach(async () => {
    logger.take();
    await rm(directory, { recursive: true });
  });

  it('writes the last state before disposal ends', async () => {
    {
      await using keeper = new StateKeeper({ directory, state: emptyState, clock, logger });
      keeper.setRun({ pid: 1, metricsAddress: '127.0.0.1:1' });
      for (let n = 0; n < 50; n += 1) {
        keeper.setOutstanding({ client: [{ csr: `csr-${n}`, createdAt: n }] });
        if (n % 10 === 0) await new Promise(setImmediate);
      }
      keeper.setRun({ pid: 2 });
    }
    const { state } = await readState(directory);
    assert.deepEqual(state, {
      pid: 2,
      certificates: { client: { outstanding: [{ csr: 'csr-49', createdAt: 49 }] } },
    });
    assert.deepEqual(logger.lines, []);
  });

  it('keeps the records of earlier runs until they change', async () => {
    const earlier = { certificates: { client: { outstanding: [{ csr: 'old', createdAt: 1 }] } } };
    {
      await using keeper = new StateKeeper({ directory, state: earlier, clock, logger });
      keeper.setRun({ pid: 3 });
    }
    assert.deepEqual((await readState(directory)).state, { pid: 3, ...earlier });
  });

  it('keeps requests and hooks of a certificate apart', async () => {
    const rolledBack = { from: 'b', to: 'a', count: 1, until: 7 };
    {
      await using keeper = new StateKeeper({ directory, state: emptyState, clock, logger });
      keeper.setHooks({ server: { hooksPending: 'a', rolledBack }, client: { hooksPending: 'x' } });
      keeper.setOutstanding({ server: [{ csr: 'csr-1', createdAt: 1 }] });
      keeper.setHooks({ server: { rolledBack }, client: {} });
    }
    assert.deepEqual((await readState(directory)).state.certificates, {
      server: { outstanding: [{ csr: 'csr-1', createdAt: 1 }], rolledBack },
      client: { outstanding: [] },
    });
  });

  it('skips states that are out of date before they are written', async () => {
    {
      await using keeper = new StateKeeper({
        directory: join(directory, 'file/below'),
        state: emptyState,
        clock,
        logger,
      });
      await writeFile(join(directory, 'file'), '');
      for (let n = 0; n < 100; n += 1) keeper.setRun({ pid: n });
    }
    assert.equal(logger.lines.length, 1);
  });

  it('logs a directory that it cannot write, and continues', async () => {
    await writeFile(join(directory, 'file'), '');
    {
      await using keeper = new StateKeeper({
        directory: join(directory, 'file'),
        state: emptyState,
        clock,
        logger,
      });
      keeper.setRun({ pid: 1 });
      await new Promise(setImmediate);
    }
    const [line] = logger.lines;
    assert.equal(line?.event, 'state_unwritable');
    assert.equal(line?.['path'], join(directory, 'file'));
    assert.equal(typeof line?.['error'], 'string');
    assert.equal(await readFile(join(directory, 'file'), 'utf8'), '');
  });

  it('logs a failing write once, and the recovery once', async () => {
    const file = join(directory, 'file');
    await writeFile(file, '');
    await using keeper = new StateKeeper({ directory: file, state: emptyState, clock, logger });
    keeper.setRun({ pid: 1 });
    await until('it could not be written', () => clock.sleeping > 0);
    keeper.setRun({ pid: 2 });
    await clock.advance(minute);
    assert.deepEqual(logger.events, ['state_unwritable']);
    assert.equal(typeof logger.lines[0]?.['code'], 'string');
    assert.ok(logger.lines[0]?.['remedy']);
    await rm(file);
    // The state is written even though nothing changes any more.
    await until('it is written', () => {
      void clock.advance(minute);
      return logger.lines.length > 1;
    });
    assert.deepEqual(logger.take(), ['state_unwritable', 'state_writable']);
    assert.equal((await readState(file)).state.pid, 2);
    await clock.advance(10 * minute);
    assert.equal(clock.sleeping, 0);
  });

  it('writes once more at disposal after a failed write', async () => {
    const file = join(directory, 'file');
    await writeFile(file, '');
    {
      await using keeper = new StateKeeper({ directory: file, state: emptyState, clock, logger });
      keeper.setRun({ pid: 1 });
      await until('it could not be written', () => clock.sleeping > 0);
      await rm(file);
    }
    assert.deepEqual(logger.events, ['state_unwritable', 'state_writable']);
    assert.equal((await readState(file)).state.pid, 1);
  });
});
