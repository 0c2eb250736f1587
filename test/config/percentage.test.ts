import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePercentage } from '../../src/config/percentage.ts';

describe('parsePercentage()', () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ['70%', 0.7],
    ['33.3%', 0.333],
    ['66.667%', 0.66667],
    ['0%', 0],
    ['100%', 1],
    ['', undefined],
    ['%', undefined],
    ['70', undefined],
    ['0.7', undefined],
    ['70 %', undefined],
    ['-70%', undefined],
    ['.5%', undefined],
    ['1e1%', undefined],
    ['70%%', undefined],
    ['1000%', undefined],
    ['70%\n', undefined],
  ];
  for (const [text, fraction] of cases) {
    it(`reads ${JSON.stringify(text)} as ${fraction ?? 'no percentage'}`, () => {
      assert.equal(parsePercentage(text), fraction);
    });
  }
});
