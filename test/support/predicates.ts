import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

/** A function that accepts or refuses a text, with examples of both. */
export interface Predicate {
  readonly symbol: string;
  readonly test: (text: string) => boolean;
  readonly good: readonly string[];
  readonly bad: readonly string[];
}

/** Declares a test for each example. */
export function describePredicate({ symbol, test, good, bad }: Predicate): void {
  describe(symbol, () => {
    for (const text of good) {
      it(`accepts ${JSON.stringify(text.slice(0, 40))}`, () => {
        assert.equal(test(text), true);
      });
    }
    for (const text of bad) {
      it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
        assert.equal(test(text), false);
      });
    }
  });
}
