import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { approverAnnotation, approverNote } from '../../src/kube/approver-note.ts';

const note = {
  outcome: 'hold',
  reason: 'AddressesEmpty',
  message: 'no address',
  remedy: 'Set one',
};

function parse(value: unknown): unknown {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return approverNote({ [approverAnnotation]: text });
}

describe('approverNote()', () => {
  it('reads the annotation of a hold, beside the versions of the sources', () => {
    assert.deepEqual(parse({ policyDigest: 'abc', sources: { node: '1' }, ...note }), note);
  });

  it('is undefined without a note', () => {
    assert.equal(approverNote({}), undefined);
    assert.equal(parse({ policyDigest: 'abc', sources: {} }), undefined);
  });

  const malformed: readonly (readonly [string, unknown])[] = [
    ['no JSON', '{'],
    ['an array', []],
    ['null', null],
    ['another outcome', { ...note, outcome: 'approve' }],
    ['no remedy', { ...note, remedy: undefined }],
    ['an empty reason', { ...note, reason: ' ' }],
    ['a number as the message', { ...note, message: 7 }],
    ['more than 2 KB', { ...note, message: 'x'.repeat(2_048) }],
  ];
  for (const [what, value] of malformed) {
    it(`ignores ${what}`, () => {
      assert.equal(parse(value), undefined);
    });
  }

  it('makes the text safe for a terminal', () => {
    const found = parse({ ...note, message: 'a\u001b[2J\nb', remedy: 'r'.repeat(600) });
    assert.deepEqual(found, { ...note, message: 'a [2J b', remedy: `${'r'.repeat(500)}…` });
  });
});
