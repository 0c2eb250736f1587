import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDuration } from '../../src/config/duration.ts';

describe('parseDuration()', () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ['90s', 90],
    ['30m', 1_800],
    ['1h30m', 5_400],
    ['1.5h', 5_400],
    ['250ms', 0.25],
    ['1m250ms', 60.25],
    ['0s', 0],
    ['', undefined],
    ['30', undefined],
    ['-5m', undefined],
    ['5 m', undefined],
    ['1d', undefined],
    ['5m!', undefined],
    ['.5h', undefined],
  ];
  for (const [text, seconds] of cases) {
    it(`reads ${JSON.stringify(text)} as ${seconds ?? 'no duration'}`, () => {
      assert.equal(parseDuration(text), seconds);
    });
  }
});
