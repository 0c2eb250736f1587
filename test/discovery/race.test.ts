import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import type { Lane } from '../../src/discovery/race.ts';
import { raceInTurn } from '../../src/discovery/race.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Items that succeed, fail or wait when the test says so. */
class Scene {
  readonly clock = new FakeClock();
  readonly started: string[] = [];
  readonly ended: string[] = [];
  readonly lanes = new Map<string, Lane>();
  readonly outcomes = new Map<string, PromiseWithResolvers<string>>();
  readonly #abort = new AbortController();
  readonly result: Promise<string>;

  constructor(...items: readonly string[]) {
    const { clock } = this;
    const signal = this.#abort.signal;
    const run = this.#run.bind(this);
    this.result = raceInTurn({ items, interval: 3 * second, clock, signal, run });
    this.result.catch(() => undefined);
  }

  async #run(item: string, lane: Lane): Promise<string> {
    const outcome = Promise.withResolvers<string>();
    this.started.push(item);
    this.lanes.set(item, lane);
    this.outcomes.set(item, outcome);
    const cancel = (): void => outcome.reject(new Error(`${item} was canceled`));
    if (lane.signal.aborted) cancel();
    lane.signal.addEventListener('abort', cancel);
    try {
      return await outcome.promise;
    } finally {
      this.ended.push(item);
    }
  }

  abort(): void {
    this.#abort.abort();
  }
}

describe('raceInTurn()', () => {
  it('starts the next item after each interval', async () => {
    const scene = new Scene('a', 'b', 'c');
    await scene.clock.advance(3 * second - 1);
    assert.deepEqual(scene.started, ['a']);
    await scene.clock.advance(1);
    assert.deepEqual(scene.started, ['a', 'b']);
    await scene.clock.advance(3 * second);
    assert.deepEqual(scene.started, ['a', 'b', 'c']);
    scene.abort();
    await assert.rejects(scene.result);
  });

  it('returns the first success, and waits until the canceled items have ended', async () => {
    const scene = new Scene('a', 'b', 'c');
    await scene.clock.advance(3 * second);
    scene.outcomes.get('b')?.resolve('from b');
    assert.equal(await scene.result, 'from b');
    assert.ok(scene.ended.includes('a'));
    assert.equal(scene.clock.sleeping, 0);
  });

  it('starts the next item at once if one fails or asks for it', async () => {
    const scene = new Scene('a', 'b', 'c');
    await scene.clock.advance(0);
    scene.outcomes.get('a')?.reject(new Error('a failed'));
    await scene.clock.advance(0);
    assert.deepEqual(scene.started, ['a', 'b']);
    scene.lanes.get('b')?.startNext();
    await scene.clock.advance(0);
    assert.deepEqual(scene.started, ['a', 'b', 'c']);
    scene.outcomes.get('b')?.resolve('late');
    assert.equal(await scene.result, 'late');
  });

  it('throws the errors in the order of the items if all fail', async () => {
    const scene = new Scene('a', 'b');
    await scene.clock.advance(3 * second);
    scene.outcomes.get('b')?.reject(new Error('b failed'));
    scene.outcomes.get('a')?.reject(new Error('a failed'));
    await assert.rejects(scene.result, (error) => {
      assert.ok(error instanceof AggregateError);
      assert.deepEqual(
        error.errors.map((each: Error) => each.message),
        ['a failed', 'b failed'],
      );
      return true;
    });
  });

  it('ends every item when its signal fires', async () => {
    const scene = new Scene('a', 'b', 'c');
    await scene.clock.advance(0);
    scene.abort();
    await assert.rejects(scene.result, AggregateError);
    assert.deepEqual(scene.ended.toSorted(), ['a', 'b', 'c']);
  });
});
