import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { printable, withoutSecrets } from '../../src/core/printable.ts';

describe('printable()', () => {
  for (const [what, text, shown] of [
    ['keeps visible characters', 'nodes "ä" is forbidden', 'nodes "ä" is forbidden'],
    ['joins lines', ' a\r\n\tb\u2028c ', 'a b c'],
    ['drops terminal control codes', '\u001b[31mred\u0007\u009b', '[31mred'],
    ['drops direction marks', 'a\u202eb', 'a b'],
    ['drops lone surrogates', 'a\ud800b', 'a b'],
  ] as const) {
    it(what, () => {
      assert.equal(printable(text), shown);
    });
  }

  it('cuts long text, and marks the cut', () => {
    assert.equal(printable('x'.repeat(500)), 'x'.repeat(500));
    assert.equal(printable('x'.repeat(1_000_000)), `${'x'.repeat(500)}…`);
    assert.equal(printable('abcdef', 3), 'abc…');
  });
});

describe('withoutSecrets()', () => {
  for (const [what, text, shown] of [
    ['keeps names', 'selfSignedUntilIssued ip-10-0-0-1.eu-central-1.compute.internal', undefined],
    ['redacts the body of a key', `PRIVATE KEY ${'MHcCAQEEIIb9'.repeat(5)}==`, 'PRIVATE KEY …'],
    ['redacts a token', 'canary4hT4wV9sXk2LmR8bNd', '…'],
    ['redacts a key that follows a name directly', 'cqpn2dxvTuc0FVU0dertificateDirectory', '…'],
    ['redacts letters without a digit', 'xuOOAamyTyXDeXdjxarQ', '…'],
    ['redacts the secret half of a bootstrap token', 'abcdef.0123456789abcdef', 'abcdef.…'],
    ['redacts a long run of one letter', 'a'.repeat(60), '…'],
    ['redacts a key that is cut at the limit', `${' '.repeat(490)}aB3aB3aB3aB3aB3aB3`, '…'],
  ] as const) {
    it(what, () => {
      assert.equal(withoutSecrets(text), shown ?? text);
    });
  }
});
