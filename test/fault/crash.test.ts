import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../support/fake-clock.ts';
import { skipWithoutGoProgram } from '../support/go-program.ts';
import { skipWithout } from '../support/programs.ts';
import { makePair, present, secretOf, storeConfig, temporaryDirectory } from '../store/pairs.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { crash } from './crash.ts';
import { collectRows } from './collect-rows.ts';
import { FileStore } from './filestore/file-store.ts';

describe(
  'a crash',
  { skip: skipWithout('strace') || skipWithoutGoProgram('fault-filestore') },
  () => {
    it('or an error at a system call loses no pair and leaves no stray file', async (context) => {
      const [rotation, bootstrap] = await collectRows(crash, context);
      assert.ok(rotation !== undefined && bootstrap !== undefined);
      // At least all but one must have been hit: threads race, so the last call of a
      // kind may be missing.
      assert.ok(
        rotation.tried >= 6 && bootstrap.tried >= 1,
        `${rotation.tried} ${bootstrap.tried}`,
      );
      for (const said of ['rotation_failed STORE_FULL', 'rotation_failed STORE_PERMISSIONS']) {
        assert.ok(
          rotation.seen.some((seen) => seen.startsWith(said)),
          said,
        );
      }
    });
  },
);

describe('FileStore', { skip: skipWithoutGoProgram('fault-filestore') }, () => {
  it('finds the stored pair, and none in an empty directory', async (context) => {
    await using fileStore = new FileStore();
    const directory = await temporaryDirectory(context);
    const name = 'kubelet-client';
    assert.match((await fileStore.current(directory, name)).error ?? '', /no cert\/key files/);
    const clock = new FakeClock(present);
    const pair = await makePair();
    await new PairStore({ directory, name, clock, config: storeConfig }).write(secretOf(pair));
    assert.equal((await fileStore.current(directory, name)).serial, pair.serial);
  });
});
