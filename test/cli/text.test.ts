import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextTry } from '../../src/cli/text.ts';
import { start } from './statuses.ts';

describe('nextTry()', () => {
  const cases: readonly (readonly [string, number | undefined, string | undefined])[] = [
    ['a moment to come', start + 41_000, 'next try in 41s'],
    ['less than a second', start + 200, 'next try in 1s'],
    ['this moment', start, undefined],
    ['a moment past', start - 18_000, undefined],
    ['no moment', undefined, undefined],
  ];
  for (const [name, at, expected] of cases) {
    it(`nextTry() is ${expected ?? 'left out'} for ${name}`, () => {
      assert.equal(nextTry(at, start), expected);
    });
  }
});
