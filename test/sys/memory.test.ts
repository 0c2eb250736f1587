import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { releaseMemory, trimMemory } from '../../src/sys/memory.ts';
import { processUsage } from '../bench/process-usage.ts';

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

describe('trimMemory()', () => {
  it('returns the free memory between blocks that are in use', () => {
    const blocks = Array.from({ length: 20_000 }, () => Buffer.alloc(2_000, 1));
    const kept = blocks.filter((_, index) => index % 100 === 0);
    blocks.length = 0;
    releaseMemory();
    const before = processUsage(process.pid).mainRssAnon;
    trimMemory();
    const after = processUsage(process.pid).mainRssAnon;
    assert.ok(before - after > 20, `${before} MB, then ${after} MB`);
    assert.equal(kept.length, 200);
  });
});
