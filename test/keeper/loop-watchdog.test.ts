import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { LoopWatchdog } from '../../src/keeper/loop-watchdog.ts';
import { day, hour, minute } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingLogger } from './fixtures.ts';

const start = Date.UTC(2026, 0, 1);

/** A watchdog on mock timers. */
function watched(t: TestContext): {
  readonly clock: FakeClock;
  readonly logger: RecordingLogger;
  readonly watchdog: LoopWatchdog;
  readonly pass: (minutes: number) => void;
} {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const clock = new FakeClock(start);
  const logger = new RecordingLogger();
  const watchdog = new LoopWatchdog({ clock, logger, directory: '/pki' });
  watchdog.start();
  return {
    clock,
    logger,
    watchdog,
    pass: (minutes) => {
      clock.jump(minutes * minute);
      t.mock.timers.tick(minutes * minute);
    },
  };
}

describe('LoopWatchdog', () => {
  it('logs once that the loop is stuck, and once that it runs again', (t) => {
    const { watchdog, logger, pass } = watched(t);
    watchdog.roundDone();
    watchdog.enter('setting watches');
    pass(3);
    assert.equal(watchdog.stuckAt, undefined);
    assert.deepEqual(logger.lines, []);
    pass(1);
    assert.equal(watchdog.stuckAt, 'setting watches');
    pass(60);
    assert.deepEqual(logger.take(), ['loop_stuck']);
    assert.equal(watchdog.lastRound, start);
    watchdog.roundDone();
    assert.equal(watchdog.stuckAt, undefined);
    assert.equal(watchdog.lastRound, start + 64 * minute);
    assert.deepEqual(logger.take(), ['loop_resumed']);
    watchdog.roundDone();
    assert.deepEqual(logger.take(), []);
  });

  it('names the task, the last round and a remedy', (t) => {
    const { watchdog, logger, pass } = watched(t);
    watchdog.enter('comparing the PEM files');
    pass(4);
    const [line] = logger.all('loop_stuck');
    assert.equal(line?.['task'], 'comparing the PEM files');
    assert.equal(line?.['lastRound'], '2026-01-01T00:00:00Z');
    assert.match(String(line?.['remedy']), /stat -f \/pki/);
  });

  it('logs nothing while a round ends every minute', (t) => {
    const { watchdog, logger, pass } = watched(t);
    for (let round = 0; round < 100; round += 1) {
      pass(1);
      watchdog.roundDone();
    }
    assert.deepEqual(logger.lines, []);
  });

  for (const jump of [day, 365 * day, -hour, -day]) {
    it(`counts one check for a clock jump of ${jump / hour} hours`, (t) => {
      const { clock, watchdog, pass } = watched(t);
      pass(1);
      clock.jump(jump);
      pass(1);
      assert.equal(watchdog.stuckAt, undefined);
    });
  }

  it('stops when it is disposed', (t) => {
    const { watchdog, logger, pass } = watched(t);
    watchdog[Symbol.dispose]();
    pass(10);
    assert.deepEqual(logger.lines, []);
  });
});
