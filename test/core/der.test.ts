import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isSameBytes, readDer, writeDer } from '../../src/core/der.ts';

const bytes = fc.uint8Array({ maxLength: 70_000, size: 'max' });

describe('writeDer()', () => {
  it('writes what readDer() reads, for any content', () => {
    fc.assert(
      fc.property(bytes, bytes, (first, second) => {
        const encoded = writeDer(0x30, writeDer(0x04, first), writeDer(0x0c, second));
        const [sequence] = readDer(encoded);
        assert.ok(sequence !== undefined && isSameBytes(sequence.encoded, encoded));
        const values = readDer(sequence.content);
        assert.deepEqual(
          values.map(({ tag }) => tag),
          [0x04, 0x0c],
        );
        assert.ok(values[0] !== undefined && isSameBytes(values[0].content, first));
        assert.ok(values[1] !== undefined && isSameBytes(values[1].content, second));
      }),
      { numRuns: 50 },
    );
  });

  const lengths = [
    [127, '7f'],
    [128, '8180'],
    [255, '81ff'],
    [256, '820100'],
    [65_536, '83010000'],
  ] as const;
  for (const [length, expected] of lengths) {
    it(`encodes the length ${length} in the shortest form`, () => {
      const encoded = writeDer(0x04, new Uint8Array(length));
      assert.equal(encoded.subarray(1, 1 + expected.length / 2).toHex(), expected);
    });
  }
});

describe('readDer()', () => {
  for (const wrong of ['3005', '308000', '30820100']) {
    it(`refuses ${wrong}, whose length is wrong`, () => {
      assert.throws(() => readDer(Uint8Array.fromHex(wrong)), /a length/);
    });
  }
});
