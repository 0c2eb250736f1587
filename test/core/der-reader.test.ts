import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DerError, DerReader } from '../../src/core/der-reader.ts';

function reader(hex: string): DerReader {
  return new DerReader(Buffer.from(hex, 'hex'));
}

describe('DerReader', () => {
  it('reads values one after the other, and the values inside them', () => {
    const outer = reader('3007020105040207080c0161');
    const inner = outer.inside();
    assert.deepEqual([...inner.content(0x02)], [5]);
    assert.equal(inner.hasNext(0x04), true);
    assert.deepEqual([...inner.encoded(0x04)], [4, 2, 7, 8]);
    assert.equal(inner.isAtEnd, true);
    assert.deepEqual([...outer.content(0x0c)], [0x61]);
    outer.finish();
  });

  it('reads long lengths', () => {
    const bytes = Buffer.concat([Buffer.from('04820100', 'hex'), Buffer.alloc(256, 7)]);
    assert.equal(new DerReader(bytes).content(0x04).length, 256);
  });

  const refused: Readonly<Record<string, string>> = {
    'another tag': '0c0161',
    'no value': '',
    'no length': '04',
    'a length beyond the end': '040261',
    'a length of length bytes beyond the end': '0482ff',
    'the indefinite form': '04800000',
    'a length of four bytes': '048400000001aa',
  };
  for (const [what, hex] of Object.entries(refused)) {
    it(`refuses ${what}`, () => {
      assert.throws(() => reader(hex).content(0x04), DerError);
    });
  }

  it('refuses a value that reaches beyond the value around it', () => {
    const inner = reader('3003040205ff').inside();
    assert.throws(() => inner.content(0x04), DerError);
  });

  it('finish() refuses what follows', () => {
    assert.throws(() => reader('0500').finish(), DerError);
  });
});
