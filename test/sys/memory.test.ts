import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { releaseMemory } from '../../src/sys/memory.ts';

describe('releaseMemory()', () => {
  it('returns memory at each call', () => {
    for (let call = 0; call < 2; call += 1) {
      let garbage: number[] | undefined = Array.from(
        { length: 4_000_000 },
        (_, index) => index / 3,
      );
      const before = process.memoryUsage().heapUsed;
      assert.equal(garbage.length, 4_000_000);
      garbage = undefined;
      releaseMemory();
      assert.ok(before - process.memoryUsage().heapUsed > 20_000_000);
    }
  });

  it('leaves no global gc behind', () => {
    releaseMemory();
    assert.equal('gc' in globalThis, false);
  });
});
