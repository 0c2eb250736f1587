import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCaPin } from '../../src/core/ca-pin.ts';

const digits = '0123456789abcdef'.repeat(4);

describe('parseCaPin()', () => {
  it('returns the digits in lower case', () => {
    assert.equal(parseCaPin(`sha256:${digits.toUpperCase()}`), `sha256:${digits}`);
    assert.equal(parseCaPin(`sha256:${digits}`), `sha256:${digits}`);
  });

  for (const text of ['', digits, `sha512:${digits}`, `sha256:${digits}0`, `sha256:${digits}\n`]) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))} of ${text.length} characters`, () => {
      assert.equal(parseCaPin(text), undefined);
    });
  }
});
