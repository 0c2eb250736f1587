import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InspectionLimiter } from '../../src/keeper/inspection-limiter.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('InspectionLimiter', () => {
  it('is exhausted after five inspections of a path in one minute', async () => {
    const clock = new FakeClock();
    const limiter = new InspectionLimiter(clock);
    for (let inspection = 0; inspection < 5; inspection += 1) {
      assert.equal(limiter.isExhausted('/pki/a'), false);
      limiter.record('/pki/a');
      await clock.advance(second);
    }
    assert.equal(limiter.isExhausted('/pki/a'), true);
    assert.equal(limiter.isExhausted('/pki/b'), false);
    await clock.advance(minute - 6 * second);
    assert.equal(limiter.isExhausted('/pki/a'), true);
    await clock.advance(second);
    assert.equal(limiter.isExhausted('/pki/a'), false);
  });

  for (const jump of [hour, -hour]) {
    it(`is not exhausted any more after the clock is set ${jump > 0 ? 'forward' : 'back'}`, () => {
      const clock = new FakeClock();
      const limiter = new InspectionLimiter(clock);
      for (let inspection = 0; inspection < 5; inspection += 1) limiter.record('/pki/a');
      clock.jump(jump);
      assert.equal(limiter.isExhausted('/pki/a'), false);
    });
  }
});
