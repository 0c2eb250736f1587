import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BoundedOutput } from '../../src/sys/bounded-output.ts';

describe('BoundedOutput', () => {
  it('joins its pieces, also within a character', () => {
    using output = new BoundedOutput(10);
    const bytes = Buffer.from('aä');
    output.add(bytes.subarray(0, 2));
    output.add(bytes.subarray(2));
    assert.equal(output.text(), 'aä');
    assert.equal(output.overflow.aborted, false);
  });

  it('aborts its signal above the limit, and wipes everything', () => {
    using output = new BoundedOutput(3);
    const pieces = [Buffer.from('abc'), Buffer.from('d'), Buffer.from('e')];
    for (const piece of pieces) output.add(piece);
    assert.equal(output.overflow.aborted, true);
    assert.equal(output.text(), '');
    assert.deepEqual(Buffer.concat(pieces), Buffer.alloc(5));
  });

  it('wipes its pieces when it is disposed', () => {
    const piece = Buffer.from('secret');
    {
      using output = new BoundedOutput(100);
      output.add(piece);
    }
    assert.deepEqual(piece, Buffer.alloc(6));
  });
});
