import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatInstant, hour, minute } from '../../src/core/instant.ts';
import type { MaintenanceWindow, OffsetAt } from '../../src/core/maintenance-window.ts';
import {
  nextOpening,
  openUntil,
  parseMaintenanceWindow,
} from '../../src/core/maintenance-window.ts';

const utc: OffsetAt = () => 0;

/** Central European Time in 2026: summer time from 29 March to 25 October, 01:00 UTC. */
const berlin: OffsetAt = (instant) =>
  instant >= Date.UTC(2026, 2, 29, 1) && instant < Date.UTC(2026, 9, 25, 1) ? 2 * hour : hour;

/** Eastern Time in 2026: daylight time from 8 March, 07:00 UTC, to 1 November, 06:00 UTC. */
const newYork: OffsetAt = (instant) =>
  instant >= Date.UTC(2026, 2, 8, 7) && instant < Date.UTC(2026, 10, 1, 6) ? -4 * hour : -5 * hour;

function windowOf(text: string): MaintenanceWindow {
  const parsed = parseMaintenanceWindow(text);
  assert.ok('window' in parsed, text);
  return parsed.window;
}

describe('parseMaintenanceWindow()', () => {
  const valid: readonly (readonly [string, number[], number, number])[] = [
    ['Sun 02:00-04:00', [0], 2 * hour, 2 * hour],
    ['sat,SUN 23:00-01:00', [0, 6], 23 * hour, 2 * hour],
    ['02:00-04:30', [0, 1, 2, 3, 4, 5, 6], 2 * hour, 150 * minute],
    ['Mon 00:00-24:00', [1], 0, 24 * hour],
    ['Mon  12:00-11:59', [1], 12 * hour, 24 * hour - minute],
  ];
  for (const [text, days, from, length] of valid) {
    it(`reads ${text}`, () => {
      const window = windowOf(text);
      assert.deepEqual(window.days, new Set(days));
      assert.deepEqual({ from: window.from, length: window.length }, { from, length });
    });
  }

  const invalid: readonly (readonly [string, RegExp])[] = [
    ['', /^expected days and times such as Sun 02:00-04:00/],
    ['Sun', /^expected days/],
    ['Sun 2:00-4:00', /^expected days/],
    ['Sun 02:00-04:00 UTC', /^expected days/],
    ['Sun 02:00-04:00\nMon', /^expected days/],
    ['Sun, Mon 02:00-04:00', /^expected days/],
    ['Sunday 02:00-04:00', /^"Sunday" is not a day: expected Sun, Mon/],
    ['Sat,,Sun 02:00-04:00', /^"" is not a day/],
    ['Sun 24:00-04:00', /^"24:00" is not a time of day/],
    ['Sun 02:60-04:00', /^"02:60" is not a time of day/],
    ['Sun 02:00-24:01', /^"24:01" is not a time of day/],
    ['Sun 02:00-02:00', /^the window ends when it opens$/],
  ];
  for (const [text, problem] of invalid) {
    it(`rejects ${JSON.stringify(text)}`, () => {
      const parsed = parseMaintenanceWindow(text);
      assert.ok('problem' in parsed);
      assert.match(parsed.problem, problem);
    });
  }
});

describe('openUntil()', () => {
  const cases: readonly (readonly [string, string, string | undefined])[] = [
    // 29 November 2026 is a Sunday.
    ['Sun 02:00-04:00', '2026-11-29T01:59:59Z', undefined],
    ['Sun 02:00-04:00', '2026-11-29T02:00:00Z', '2026-11-29T04:00:00Z'],
    ['Sun 02:00-04:00', '2026-11-29T03:59:59Z', '2026-11-29T04:00:00Z'],
    ['Sun 02:00-04:00', '2026-11-29T04:00:00Z', undefined],
    ['Sun 02:00-04:00', '2026-11-30T03:00:00Z', undefined],
    ['Sun 23:00-01:00', '2026-11-30T00:30:00Z', '2026-11-30T01:00:00Z'],
    ['Sun 23:00-01:00', '2026-11-29T00:30:00Z', undefined],
    ['23:00-01:00', '2026-11-29T00:30:00Z', '2026-11-29T01:00:00Z'],
    ['Sat 23:59-23:58', '2026-11-29T23:57:59Z', '2026-11-29T23:58:00Z'],
  ];
  for (const [text, now, end] of cases) {
    it(`of ${text} at ${now} is ${end ?? 'undefined'}`, () => {
      const found = openUntil(windowOf(text), Date.parse(now), utc);
      assert.equal(found && formatInstant(found), end);
    });
  }

  it('uses local time', () => {
    const window = windowOf('Sun 00:00-02:00');
    assert.equal(openUntil(window, Date.parse('2026-11-28T22:59:59Z'), berlin), undefined);
    assert.ok(openUntil(window, Date.parse('2026-11-28T23:00:00Z'), berlin));
    assert.ok(openUntil(window, Date.parse('2026-11-29T06:59:59Z'), newYork));
    assert.equal(openUntil(window, Date.parse('2026-11-29T07:00:00Z'), newYork), undefined);
  });
});

describe('nextOpening()', () => {
  const cases: readonly (readonly [string, string, OffsetAt, string])[] = [
    ['Sun 02:00-04:00', '2026-11-29T01:59:59Z', utc, '2026-11-29T02:00:00Z'],
    ['Sun 02:00-04:00', '2026-11-29T02:00:00Z', utc, '2026-12-06T02:00:00Z'],
    ['Sat,Sun 23:00-01:00', '2026-11-29T00:30:00Z', utc, '2026-11-29T23:00:00Z'],
    ['02:00-04:00', '2026-12-31T05:00:00Z', utc, '2027-01-01T02:00:00Z'],
    // 02:00 does not exist on these days, and 01:30 exists twice.
    ['Sun 02:00-04:00', '2026-03-28T12:00:00Z', berlin, '2026-03-29T01:00:00Z'],
    ['Sun 02:30-02:45', '2026-03-07T12:00:00Z', newYork, '2026-03-08T07:30:00Z'],
    ['Sun 01:30-03:00', '2026-10-31T12:00:00Z', newYork, '2026-11-01T05:30:00Z'],
    ['Mon 02:00-04:00', '2026-03-28T12:00:00Z', berlin, '2026-03-30T00:00:00Z'],
  ];
  for (const [text, now, offset, opening] of cases) {
    it(`of ${text} after ${now} is ${opening}`, () => {
      const found = nextOpening(windowOf(text), Date.parse(now), offset);
      assert.equal(formatInstant(found), opening);
      assert.equal(openUntil(windowOf(text), found - 1, offset), undefined);
      assert.ok(openUntil(windowOf(text), found, offset));
    });
  }
});
