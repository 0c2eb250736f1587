import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseFingerprint } from '../../src/core/fingerprint.ts';

const digits = '0123456789abcdef'.repeat(4);
const pairs = digits.match(/../g) ?? [];

describe('parseFingerprint()', () => {
  it('accepts digits, capitals, and the colons of openssl', () => {
    assert.equal(parseFingerprint(digits), digits);
    assert.equal(parseFingerprint(digits.toUpperCase()), digits);
    assert.equal(parseFingerprint(pairs.join(':').toUpperCase()), digits);
  });

  for (const text of ['', digits.slice(2), `${digits}00`, `sha256:${digits}`, pairs.join(' ')]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(parseFingerprint(text), undefined);
    });
  }
});
