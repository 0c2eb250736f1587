import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, formatInstant, hour, minute } from '../../src/core/instant.ts';
import { parseMaintenanceWindow } from '../../src/core/maintenance-window.ts';
import type { RenewalSchedule } from '../../src/core/renewal-time.ts';
import { criticalTime, renewalTime } from '../../src/core/renewal-time.ts';

const notBefore = Date.parse('2026-01-01T00:00:00Z');
/** Two thirds of its lifetime are over on 1 September, a Tuesday. */
const pair = { notBefore, notAfter: notBefore + 364.5 * day, storedAt: notBefore };

function scheduleOf(text?: string): RenewalSchedule {
  const schedule = { rotation: { from: 0.5, to: 0.6 }, offsetAt: () => 0 };
  if (text === undefined) return schedule;
  const parsed = parseMaintenanceWindow(text);
  assert.ok('window' in parsed);
  return { ...schedule, window: parsed.window };
}

describe('renewalTime()', () => {
  it('without a maintenance window is in the rotation window', () => {
    const time = renewalTime(pair, scheduleOf(), { fraction: 0.5, now: notBefore + day });
    assert.equal(time, notBefore + 364.5 * day * 0.55);
  });

  it('is not after the critical time', () => {
    const short = { ...pair, notAfter: notBefore + 10 * minute };
    const time = renewalTime(short, scheduleOf(), { fraction: 0.5, now: notBefore });
    assert.equal(time, notBefore + 5 * minute);
  });

  const cases: readonly (readonly [string, string, string, string])[] = [
    [
      'more than a third is left',
      '2026-06-07T03:00:00Z',
      'Sun 02:00-04:00',
      '2026-09-06T02:00:00Z',
    ],
    ['the window is open', '2026-09-06T03:00:00Z', 'Sun 02:00-04:00', '2026-09-06T03:00:00Z'],
    ['the window is closed', '2026-09-06T04:00:00Z', 'Sun 02:00-04:00', '2026-09-13T02:00:00Z'],
    [
      'a third is left in the window',
      '2026-08-31T23:30:00Z',
      'Mon 23:00-03:00',
      '2026-09-01T00:00:00Z',
    ],
    [
      'over 5% are left at the opening',
      '2026-12-11T00:00:00Z',
      'Sat 02:00-04:00',
      '2026-12-12T02:00:00Z',
    ],
    [
      '5% are left before the opening',
      '2026-12-12T18:00:00Z',
      'Sun 18:00-20:00',
      '2026-12-12T18:00:00Z',
    ],
    ['less than 5% is left', '2026-12-20T12:00:00Z', 'Sun 18:00-20:00', '2026-12-20T12:00:00Z'],
    [
      'the certificate has expired',
      '2027-03-01T12:00:00Z',
      'Sun 18:00-20:00',
      '2027-03-01T12:00:00Z',
    ],
  ];
  for (const [name, now, window, expected] of cases) {
    it(`with a window is ${expected} if ${name}`, () => {
      const time = renewalTime(pair, scheduleOf(window), { fraction: 0, now: Date.parse(now) });
      assert.equal(formatInstant(time), expected);
    });
  }

  it('does not wait for a window that opens too seldom', () => {
    const short = { notBefore, notAfter: notBefore + day, storedAt: notBefore };
    const time = renewalTime(short, scheduleOf('Sun 02:00-04:00'), { fraction: 0, now: notBefore });
    assert.equal(time, notBefore + 16 * hour);
  });
});

describe('criticalTime()', () => {
  it('leaves 5% of the lifetime', () => {
    assert.equal(criticalTime(pair), pair.notAfter - 0.05 * 364.5 * day);
  });

  it('leaves at least five minutes', () => {
    const short = { ...pair, notAfter: notBefore + 20 * minute };
    assert.equal(criticalTime(short), notBefore + 15 * minute);
  });
});
