import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LookBrake } from '../../src/keeper/look-brake.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('LookBrake', () => {
  it('holds after five looks in a minute, each path for itself, until the minute is over', async () => {
    const clock = new FakeClock();
    const brake = new LookBrake(clock);
    for (let look = 0; look < 5; look += 1) {
      assert.equal(brake.holds('/pki/a'), false);
      brake.looked('/pki/a');
      await clock.advance(second);
    }
    assert.equal(brake.holds('/pki/a'), true);
    assert.equal(brake.holds('/pki/b'), false);
    await clock.advance(minute - 6 * second);
    assert.equal(brake.holds('/pki/a'), true);
    await clock.advance(second);
    assert.equal(brake.holds('/pki/a'), false);
  });

  for (const jump of [hour, -hour]) {
    it(`lets go when the clock is set ${jump > 0 ? 'forward' : 'back'}`, () => {
      const clock = new FakeClock();
      const brake = new LookBrake(clock);
      for (let look = 0; look < 5; look += 1) brake.looked('/pki/a');
      clock.jump(jump);
      assert.equal(brake.holds('/pki/a'), false);
    });
  }
});
