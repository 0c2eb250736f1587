import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClockWatch } from '../../src/keeper/clock-watch.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingLogger } from './fixtures.ts';

describe('ClockWatch', () => {
  const cases: readonly (readonly [string, number, number, number | undefined])[] = [
    ['nothing while time passes', 0, 3 * hour, undefined],
    ['nothing for an adjustment by a time server', 10 * second - 1, minute, undefined],
    ['a clock that is set forward', 10 * second, minute, 10],
    ['a clock that is set back', -400 * day, minute, -34_560_000],
    ['a night in which the machine was suspended', 9 * hour, 0, 32_400],
  ];
  for (const [what, jump, passing, seconds] of cases) {
    it(`check() logs ${what}`, async () => {
      const clock = new FakeClock();
      const logger = new RecordingLogger();
      const watch = new ClockWatch(clock, logger);
      await clock.advance(passing);
      clock.jump(jump);
      watch.check();
      const expected = seconds === undefined ? [] : [{ event: 'clock_jumped', seconds }];
      assert.deepEqual(logger.lines, expected);
      watch.check();
      assert.deepEqual(logger.lines, expected);
    });
  }
});
