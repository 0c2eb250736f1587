import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { second } from '../../src/core/instant.ts';
import { makePair, secretOf } from './pairs.ts';
import { bench } from './store-bench.ts';

const swaps = 25;

for (const previousPairs of [2, 0]) {
  test(`write() never shows a reader a torn key pair, keeping ${previousPairs}`, async (t) => {
    const { store, clock, link } = await bench(t, { config: { previousPairs } });
    await store.write(secretOf(await makePair()));
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const reader = new Worker(new URL('reader.worker.ts', import.meta.url), {
      workerData: { link, shared },
    });
    await once(reader, 'message');
    const written: string[] = [];
    for (let count = 0; count < swaps; count += 1) {
      clock.jump(second);
      const pair = await makePair();
      const seen = Atomics.load(shared, 1);
      await store.write(secretOf(pair));
      written.push(pair.serial);
      if (count % 5 === 0) await store.inspect();
      // On a busy machine the reader may not run between two swaps.
      if (count % 2 === 0) while (Atomics.load(shared, 1) === seen) await setImmediate();
    }
    const report = once(reader, 'message');
    Atomics.store(shared, 0, 1);
    const [{ reads, serials, faults }] = (await report) as [
      { reads: number; serials: string[]; faults: string[] },
    ];
    t.diagnostic(`${reads} reads during ${swaps} swaps saw ${serials.length} pairs`);
    assert.deepEqual(faults, []);
    assert.ok(reads > swaps, `only ${reads} reads`);
    const seen = serials.filter((serial) => written.includes(serial));
    assert.ok(seen.length > swaps / 2, `the reader saw ${seen.length} of the pairs only`);
  });
}
