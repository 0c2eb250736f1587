import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { clamp } from '../../src/core/clamp.ts';
import type { RotationWindow } from '../../src/core/schedule.ts';
import {
  foundDeadline,
  kubeletWindow,
  lifetimeStart,
  observedDeadline,
  overdueGrace,
  rotationDeadline,
  rotationFraction,
} from '../../src/core/schedule.ts';
import {
  minimumTimeLeftForRollback,
  requestDelay,
  minimumRotationInterval,
  delayAfterRollback,
} from '../../src/core/timing.ts';
import { pairFor, servingTemplate, start } from './fixtures.ts';
import { extremeWindows, rotationWindow } from './rotation-window.ts';

const lifetime = fc
  .record({
    notBefore: fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) }),
    length: fc.integer({ min: second, max: 3_650 * day }),
    storedAt: fc.integer({ min: 0, max: Date.UTC(2110, 0, 1) }),
    inside: fc.double({ min: 0, max: 1, noNaN: true }),
    kept: fc.boolean(),
  })
  .map(({ notBefore, length, storedAt, inside, kept }) => ({
    notBefore,
    notAfter: notBefore + length,
    // Half of the files have a time inside the validity, the other half any time at all.
    storedAt: kept ? Math.round(notBefore + length * inside) : storedAt,
  }));
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('rotationDeadline()', () => {
  it('falls between 70% and 90% of the time from issue to expiry by default', () => {
    fc.assert(
      fc.property(lifetime, fraction, (pair, fraction) => {
        assertWithin(pair, kubeletWindow, rotationDeadline(pair, fraction));
      }),
    );
  });

  it('falls into any window of the time from issue to expiry', () => {
    fc.assert(
      fc.property(lifetime, rotationWindow, fraction, (pair, window, fraction) => {
        assertWithin(pair, window, rotationDeadline(pair, fraction, { window }));
      }),
    );
  });

  it('has the same point in each window', () => {
    const pair = { notBefore: start, notAfter: start + 1_000 * minute, storedAt: start };
    const deadlines = [kubeletWindow, ...extremeWindows].map((window) =>
      [0, 0.25, 0.5].map((fraction) => rotationDeadline(pair, fraction, { window }) - start),
    );
    assert.deepEqual(deadlines, [
      [700 * minute, 750 * minute, 800 * minute],
      [100 * minute, 102.5 * minute, 105 * minute],
      [940 * minute, 942.5 * minute, 945 * minute],
    ]);
  });

  it('is the same at each call', () => {
    fc.assert(
      fc.property(lifetime, fc.string(), fc.string(), (pair, node, serial) => {
        const deadline = (): number =>
          rotationDeadline(pair, rotationFraction(node, 'client', serial));
        assert.equal(deadline(), deadline());
      }),
    );
  });

  it('does not move when the agent restarts', () => {
    const pair = { notBefore: start - 5 * minute, notAfter: start + day, storedAt: start };
    assert.equal(rotationDeadline(pair, 0), start + 0.7 * day);
    assert.equal(rotationDeadline(pair, 0.5), start + 0.8 * day);
  });

  it('is half the remaining time, or almost an hour, for an unchanged expiry', () => {
    const end = start + 30 * day;
    const wait = (left: number, fraction: number): number => {
      const storedAt = end - left;
      const pair = { notBefore: storedAt - 5 * minute, notAfter: end, storedAt };
      return rotationDeadline(pair, fraction, { replaced: { notAfter: end } }) - storedAt;
    };
    assert.deepEqual(
      [0, 0.5].map((fraction) => wait(day, fraction)),
      [6 * hour, 12 * hour],
    );
    assert.deepEqual(
      [0, 0.5].map((fraction) => wait(minute, fraction)),
      [27.5 * minute, 55 * minute],
    );
    for (const window of extremeWindows) {
      const pair = { notBefore: end - day - 5 * minute, notAfter: end, storedAt: end - day };
      const deadline = rotationDeadline(pair, 0.5, { window, replaced: { notAfter: end } });
      assert.equal(deadline, end - 12 * hour);
    }
    // With an hour and a half left, a node requests again in time.
    assert.ok(wait(1.5 * hour, 1 - Number.EPSILON) <= 83 * minute);
    assert.ok(wait(2 * hour, 1 - Number.EPSILON) <= 1.5 * hour);
  });

  it('ignores a predecessor with another expiry', () => {
    const pair = { notBefore: start, notAfter: start + day, storedAt: start };
    for (const notAfter of [start, start + day - second, start + 365 * day]) {
      assert.equal(rotationDeadline(pair, 0.5, { replaced: { notAfter } }), start + 0.8 * day);
    }
  });

  it('rotates a backdated 20 s certificate every 14 to 18 s', () => {
    let now = start;
    const end = start + hour;
    const gaps: number[] = [];
    for (let serial = 0; now < end; serial += 1) {
      const deadline = rotationDeadline(backdated(now), rotationFraction('n', 'c', String(serial)));
      gaps.push(deadline - now);
      now = deadline;
    }
    assert.ok(Math.min(...gaps) >= 14 * second);
    assert.ok(Math.max(...gaps) <= 18 * second);
    const mean = gaps.reduce((sum, gap) => sum + gap) / gaps.length;
    assert.ok(Math.abs(mean - 16 * second) < 0.5 * second, `mean ${mean}`);
    // Counted from notBefore, it would be due 4 minutes before it was issued.
    assert.ok(start - 5 * minute + 0.9 * (5 * minute + 20 * second) < start);
  });
});

/** Within the window, with half a millisecond of rounding on either side. */
function assertWithin(
  pair: Parameters<typeof rotationDeadline>[0],
  { from, to }: RotationWindow,
  deadline: number,
): void {
  const issued = lifetimeStart(pair);
  const length = pair.notAfter - issued;
  assert.ok(deadline >= issued + from * length - 0.51);
  assert.ok(deadline <= issued + to * length + 0.51);
  assert.ok(Number.isInteger(deadline));
}

describe('foundDeadline()', () => {
  const pair = pairFor(servingTemplate);
  const place = { nodeName: 'worker-1', name: 'kubelet-server', now: start };

  it('is in the configured window, at the point of node, name and serial', () => {
    const fraction = rotationFraction('worker-1', 'kubelet-server', pair.serial);
    for (const window of extremeWindows) {
      const deadline = foundDeadline(pair, { ...place, window, observed: new Set() });
      assert.equal(deadline, rotationDeadline(pair, fraction, { window }));
    }
  });

  it('is at 90% for a certificate that the kubelet rotates', () => {
    for (const window of extremeWindows) {
      const observed = new Set(['kubelet-server']);
      assert.equal(foundDeadline(pair, { ...place, window, observed }), start + 0.9 * hour);
    }
    assert.equal(observedDeadline(pair), start + 0.9 * hour);
  });
});

describe('lifetimeStart()', () => {
  const notBefore = start;
  const notAfter = start + hour;
  const issued = start + 5 * minute;
  const cases: readonly (readonly [string, number, number, number?])[] = [
    ['the time of issue, if it is later than notBefore', issued, issued],
    [
      'the time of issue, even if the clock is just behind the file time',
      issued,
      issued,
      start + 4 * minute + 1,
    ],
    ['notBefore for a file written by a clock that was ahead', issued, start, start + 4 * minute],
    ['notBefore for a file older than the certificate', start - day, start],
    ['notBefore for a file time after the expiry', start + day, start],
    ['notBefore for a file time at the expiry', notAfter, start],
    ['notBefore for a file of the same time', start, start],
  ];
  for (const [name, storedAt, expected, now] of cases) {
    it(`is ${name}`, () => {
      assert.equal(lifetimeStart({ notBefore, notAfter, storedAt }, now), expected);
    });
  }
});

describe('rotationFraction()', () => {
  it('is in [0, 1) and depends only on its three arguments', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.string(), (node, name, serial) => {
        const value = rotationFraction(node, name, serial);
        assert.ok(value >= 0 && value < 1);
        assert.equal(rotationFraction(node, name, serial), value);
      }),
    );
  });

  const populations: readonly (readonly [string, (index: number) => number])[] = [
    ['consecutive serials', (n) => rotationFraction('node', 'client', n.toString(16))],
    ['numbered nodes', (n) => rotationFraction(`worker-${n}`, 'client', '4f2a')],
    ['numbered certificates', (n) => rotationFraction('node', `cert-${n}`, '4f2a')],
  ];
  for (const [name, draw] of populations) {
    it(`is spread evenly over 10,000 ${name}`, () => {
      const buckets = Array.from({ length: 20 }, () => 0);
      for (let index = 0; index < 10_000; index += 1) {
        const bucket = Math.floor(draw(index) * buckets.length);
        buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      }
      const chiSquare = buckets.reduce((sum, count) => sum + (count - 500) ** 2 / 500, 0);
      // 19 degrees of freedom: an even spread exceeds 43.8 once in a thousand times.
      assert.ok(chiSquare < 43.8, `chi-square ${chiSquare}: ${buckets.join(' ')}`);
    });
  }

  it('differs for arguments that join to the same text', () => {
    assert.notEqual(rotationFraction('a', 'bc', '1'), rotationFraction('ab', 'c', '1'));
  });
});

describe('overdueGrace()', () => {
  const cases: readonly (readonly [string, number, number])[] = [
    ['a second for the shortest', 20 * second, second],
    ['a fiftieth in between', 50 * minute, minute],
    ['an hour for a year', 365 * day, hour],
  ];
  for (const [name, length, expected] of cases) {
    it(`is ${name}`, () => {
      const pair = { notBefore: start, notAfter: start + length, storedAt: start };
      assert.equal(overdueGrace(pair), expected);
    });
  }

  it('ends before the expiry, even after the latest deadline', () => {
    fc.assert(
      fc.property(lifetime, rotationWindow, (pair, window) => {
        fc.pre(pair.notAfter - lifetimeStart(pair) > 21 * second);
        const latest = rotationDeadline(pair, 1 - Number.EPSILON, { window });
        assert.ok(latest + overdueGrace(pair) < pair.notAfter);
      }),
    );
  });
});

describe('requestDelay()', () => {
  it('is zero for one restart and grows to an hour', () => {
    const delays = Array.from({ length: 12 }, (_, count) => requestDelay(count));
    assert.deepEqual(delays.slice(0, 2), [0, 0]);
    for (const [index, delay] of delays.slice(2).entries()) {
      assert.ok(delay > 0 && delay >= (delays[index + 1] ?? 0));
    }
    assert.equal(requestDelay(6), hour);
    assert.equal(requestDelay(1_000_000), hour);
  });

  it('limits a crash loop to a few CSRs at first, then one per hour', () => {
    const requests: number[] = [];
    for (let now = 0; now < day; now += requestDelay(requests.length)) requests.push(now);
    assert.ok(requests.filter((at) => at < hour).length <= 6);
    assert.ok(requests.length <= 6 + 24);
  });
});

describe('delayAfterRollback()', () => {
  it('is the delay, or three quarters of the time left', () => {
    assert.equal(delayAfterRollback(2 * hour, 90 * day), 2 * hour);
    assert.equal(delayAfterRollback(2 * hour, hour), 45 * minute);
    assert.equal(delayAfterRollback(2 * hour, -hour), 0);
  });

  it('allows two attempts per day and a few near the expiry', () => {
    /** The time that the pair had left at each attempt. */
    const tries: number[] = [];
    for (let left = 90 * day; left >= minimumTimeLeftForRollback;) {
      left -= delayAfterRollback(Math.min(2 * hour * 2 ** tries.length, 12 * hour), left);
      tries.push(left);
    }
    const lastDay = tries.filter((left) => left < day);
    assert.ok(lastDay.length <= 8, `${lastDay.length} tries in the last day`);
    assert.ok(tries.length - lastDay.length <= 2 * 90);
    assert.ok(tries.every((left) => left >= minimumTimeLeftForRollback / 4));
  });
});

describe('clamp()', () => {
  it('keeps a value within its bounds', () => {
    assert.deepEqual([clamp(-1, 0, 9), clamp(5, 0, 9), clamp(10, 0, 9)], [0, 5, 9]);
  });
});

describe('minimumRotationInterval', () => {
  it('is shorter than the earliest deadline of a 20 s certificate', () => {
    assert.ok(minimumRotationInterval < 14 * second);
  });
});

/** What the signer of kube-controller-manager issues with --cluster-signing-duration=20s. */
function backdated(now: number): Parameters<typeof rotationDeadline>[0] {
  return { notBefore: now - 5 * minute, notAfter: now + 20 * second, storedAt: now };
}
