import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import type { WatchStep } from '../../src/core/timing.ts';
import { WatchPace } from '../../src/core/timing.ts';

const middle = (): number => 0.5;

function stepAt(now: number, step: Partial<WatchStep> = {}): WatchStep {
  return { startedAt: now, now, progress: false, interrupted: false, retryAfterMs: 0, ...step };
}

/** Delays of several interruptions in a row, each right after the previous delay. */
function outage(pace: WatchPace, since: number, count: number): number[] {
  let now = since;
  return Array.from({ length: count }, () => {
    const delay = pace.delayAfter(stepAt(now, { interrupted: true }));
    now += delay;
    return delay;
  });
}

describe('WatchPace.delayAfter()', () => {
  it('is short after a watch that ended on time', () => {
    const pace = new WatchPace(0, middle);
    for (const now of [10 * minute, day, 30 * day]) {
      assert.equal(pace.delayAfter(stepAt(now, { startedAt: now - 5 * minute })), 250);
    }
  });

  it('doubles from 0.25 s to 30 s for a new CSR', () => {
    const delays = outage(new WatchPace(0, middle), 0, 10);
    assert.deepEqual(delays.slice(0, 5), [125, 500, 1_000, 2_000, 4_000]);
    assert.equal(delays.at(-1), 30 * second);
  });

  it('ignores the length of an outage for a new CSR', () => {
    const delays = outage(new WatchPace(0, middle), second, 200);
    assert.equal(Math.max(...delays), 30 * second);
  });

  const waits: readonly (readonly [string, number, number])[] = [
    ['half the time waited', 8 * minute, 4 * minute],
    ['at most ten minutes', 3 * day, 10 * minute],
  ];
  for (const [name, waited, scale] of waits) {
    it(`spreads nodes interrupted together over ${name}`, () => {
      const firsts = [0, 0.25, 0.5, 0.75].map((random) => {
        const pace = new WatchPace(0, () => random);
        return pace.delayAfter(stepAt(waited, { startedAt: waited - minute, interrupted: true }));
      });
      assert.deepEqual(firsts, [0, 0.25 * scale, 0.5 * scale, 0.75 * scale]);
      assert.deepEqual(outage(new WatchPace(0, middle), waited, 4).slice(1), [scale, scale, scale]);
    });
  }

  it('grows for an object that does not exist', () => {
    const pace = new WatchPace(0, middle);
    let now = 0;
    let steps = 0;
    for (; now < day; steps += 1) now += pace.delayAfter(stepAt(now));
    assert.ok(steps < 80, `${steps} requests a day`);
  });

  it('restarts after progress', () => {
    const pace = new WatchPace(0, middle);
    outage(pace, 0, 10);
    assert.equal(pace.delayAfter(stepAt(minute, { progress: true })), 250);
  });

  it('is between Retry-After and twice its value', () => {
    const retryAfterMs = 10 * minute;
    const delays = [0, 0.5].map((random) =>
      new WatchPace(0, () => random).delayAfter(stepAt(0, { interrupted: true, retryAfterMs })),
    );
    assert.deepEqual(delays, [retryAfterMs, 1.5 * retryAfterMs]);
  });
});

describe('WatchPace.watchSeconds()', () => {
  it('is half an hour to an hour', () => {
    const seconds = [0, 0.5].map((random) => new WatchPace(0, () => random).watchSeconds());
    assert.deepEqual(seconds, [1_800, 2_700]);
  });
});

describe('WatchPace.pollDelay()', () => {
  const cases: readonly (readonly [string, number, number])[] = [
    ['five minutes for a new CSR', 0, 5 * minute],
    ['half the time waited', 30 * minute, 15 * minute],
    ['an hour after a day', day, hour],
    ['five minutes after the clock is set back', -day, 5 * minute],
  ];
  for (const [name, now, expected] of cases) {
    it(`is ${name}, plus or minus half`, () => {
      const delays = [0, 0.5].map((random) => new WatchPace(0, () => random).pollDelay(now));
      assert.deepEqual(delays, [expected / 2, expected]);
    });
  }
});
