import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { printable, withoutSecrets } from '../../src/core/printable.ts';

describe('printable()', () => {
  for (const [what, text, shown] of [
    ['keeps what can be seen', 'nodes "ä" is forbidden', 'nodes "ä" is forbidden'],
    ['makes one line of many', ' a\r\n\tb\u2028c ', 'a b c'],
    ['drops what a terminal acts on', '\u001b[31mred\u0007\u009b', '[31mred'],
    ['drops marks that turn text around', 'a\u202eb', 'a b'],
    ['drops halves of characters', 'a\ud800b', 'a b'],
  ] as const) {
    it(what, () => {
      assert.equal(printable(text), shown);
    });
  }

  it('cuts what nobody reads, and says so', () => {
    assert.equal(printable('x'.repeat(500)), 'x'.repeat(500));
    assert.equal(printable('x'.repeat(1_000_000)), `${'x'.repeat(500)}…`);
    assert.equal(printable('abcdef', 3), 'abc…');
  });
});

describe('withoutSecrets()', () => {
  for (const [what, text, shown] of [
    ['keeps names', 'selfSignedUntilIssued ip-10-0-0-1.eu-central-1.compute.internal', undefined],
    ['leaves out the body of a key', `PRIVATE KEY ${'MHcCAQEEIIb9'.repeat(5)}==`, 'PRIVATE KEY …'],
    ['leaves out a token', 'canary4hT4wV9sXk2LmR8bNd', '…'],
    ['leaves out a key that is glued to a name', 'cqpn2dxvTuc0FVU0dertificateDirectory', '…'],
    ['leaves out letters without a digit', 'xuOOAamyTyXDeXdjxarQ', '…'],
    ['leaves out the secret half of a bootstrap token', 'abcdef.0123456789abcdef', 'abcdef.…'],
    ['leaves out a long run of whatever', 'a'.repeat(60), '…'],
    ['leaves out a key that is cut at the limit', `${' '.repeat(490)}aB3aB3aB3aB3aB3aB3`, '…'],
  ] as const) {
    it(what, () => {
      assert.equal(withoutSecrets(text), shown ?? text);
    });
  }
});
