import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RateLimit } from '../../src/approver/rate-limit.ts';
import { second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

const never = new AbortController().signal;

describe('RateLimit', () => {
  it('lets a burst pass, then so many per second, in order', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit({ clock, perSecond: 100, burst: 200 });
    const passed: number[] = [];
    const callers = Array.from({ length: 301 }, async (_, at) => {
      await limit.take(never);
      passed.push(at);
    });
    await clock.advance(0);
    assert.equal(passed.length, 200);
    await clock.advance(second);
    assert.equal(passed.length, 300);
    await clock.advance(second / 100);
    await Promise.all(callers);
    assert.deepEqual(passed, [...passed.keys()]);
  });

  it('refills while nothing is taken, up to the burst', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit({ clock, perSecond: 5, burst: 5 });
    const taken = (): number =>
      Array.from({ length: 9 }, () => limit.tryTake()).filter(Boolean).length;
    assert.equal(taken(), 5);
    await clock.advance(second / 5);
    assert.equal(taken(), 1);
    await clock.advance(60 * second);
    assert.equal(taken(), 5);
  });

  it('does not limit with 0', async () => {
    const limit = new RateLimit({ clock: new FakeClock(), perSecond: 0, burst: 0 });
    await limit.take(never);
    assert.ok(limit.tryTake());
  });
});
