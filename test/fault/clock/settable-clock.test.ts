import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { day, hour, second } from '../../../src/core/instant.ts';
import { skipWithout } from '../../support/programs.ts';
import { SettableClock } from './settable-clock.ts';

const year = 365 * day;

/** Returns the wall clock of a process and its monotonic clock, in seconds since the boot. */
function clocksOf({ env }: SettableClock): readonly [wall: number, monotonic: number] {
  const program = 'console.log(Date.now(), process.hrtime()[0])';
  const text = execFileSync(process.execPath, ['-e', program], { env: { ...process.env, ...env } });
  const [wall = NaN, monotonic = NaN] = String(text).split(' ').map(Number);
  return [wall, monotonic];
}

describe('SettableClock', { skip: skipWithout('faketime') }, () => {
  it('sets the wall clock of a process, and not its timers', () => {
    using clock = new SettableClock();
    for (const jump of [0, 3 * hour, -2 * year, 7 * year]) {
      clock.jump(jump);
      const before = clock.now();
      const [wall, monotonic] = clocksOf(clock);
      assert.ok(wall >= before - second && wall <= clock.now() + second, `${wall} for ${before}`);
      assert.ok(Math.abs(monotonic - process.hrtime()[0]) <= 1);
    }
    clock.set(0);
    assert.ok(clocksOf(clock)[0] < hour);
  });
});
