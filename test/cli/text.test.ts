import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextAttemptIn } from '../../src/cli/text.ts';
import { start } from './statuses.ts';

describe('nextAttemptIn()', () => {
  const cases: readonly (readonly [string, number | undefined, string | undefined])[] = [
    ['a time in the future', start + 41_000, 'next attempt in 41s'],
    ['less than a second', start + 200, 'next attempt in 1s'],
    ['this instant', start, undefined],
    ['a time in the past', start - 18_000, undefined],
    ['no time', undefined, undefined],
  ];
  for (const [name, at, expected] of cases) {
    it(`is ${expected ?? 'undefined'} for ${name}`, () => {
      assert.equal(nextAttemptIn(at, start), expected);
    });
  }
});
