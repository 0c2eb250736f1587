import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  day,
  formatDuration,
  formatInstant,
  hour,
  minute,
  second,
} from '../../src/core/instant.ts';

describe('formatInstant()', () => {
  it('is RFC 3339 in UTC with whole seconds', () => {
    assert.equal(formatInstant(Date.UTC(2026, 10, 22, 19, 5, 0, 999)), '2026-11-22T19:05:00Z');
    assert.equal(formatInstant(0), '1970-01-01T00:00:00Z');
  });

  it('loses only the fraction of a second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }), (instant) => {
        assert.equal(Date.parse(formatInstant(instant)), instant - (instant % second));
      }),
    );
  });
});

describe('formatDuration()', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [999, '0s'],
    [-999, '0s'],
    [41 * second, '41s'],
    [minute, '1m'],
    [12 * minute + 30 * second, '12m 30s'],
    [hour - 1, '59m 59s'],
    [hour, '1h'],
    [5 * hour + 3 * minute + 59 * second, '5h 3m'],
    [hour + 59 * second, '1h'],
    [89 * day + 4 * hour, '89d 4h'],
    [day, '1d'],
    [-(12 * minute + 30 * second), '-12m 30s'],
    [-3 * day, '-3d'],
  ];
  for (const [ms, text] of cases) {
    it(`shows ${ms} ms as ${text}`, () => assert.equal(formatDuration(ms), text));
  }

  it('rounds down, by less than its smaller unit', () => {
    const sizes: Readonly<Record<string, number>> = { d: day, h: hour, m: minute, s: second };
    fc.assert(
      fc.property(fc.integer({ min: second, max: 400 * day }), (ms) => {
        const parts = formatDuration(ms).split(' ');
        const shown = parts.map(
          (part) => Number(part.slice(0, -1)) * (sizes[part.slice(-1)] ?? NaN),
        );
        const total = shown.reduce((sum, part) => sum + part);
        const largest = sizes[parts[0]?.slice(-1) ?? ''] ?? NaN;
        assert.ok(parts.length <= 2);
        assert.ok(total <= ms);
        assert.ok(ms - total < Math.max(largest / 24, second));
      }),
    );
  });
});
