import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IdleMemory, muchWork } from '../../src/app/idle-memory.ts';
import { minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

class Scene implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly releases: number[] = [];
  idle = true;
  readonly memory = new IdleMemory({
    clock: this.clock,
    release: () => this.releases.push(this.clock.elapsed()),
    isIdle: () => this.idle,
  });
  readonly #stop = new AbortController();
  readonly #run = this.memory.run(this.#stop.signal).catch(() => undefined);

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }
}

describe('IdleMemory', () => {
  it('releases nothing without work', async () => {
    await using scene = new Scene();
    await scene.clock.advance(60 * minute);
    assert.deepEqual(scene.releases, []);
  });

  it('releases memory within ten seconds of much work', async () => {
    await using scene = new Scene();
    scene.memory.worked();
    await scene.clock.advance(10 * second);
    scene.memory.worked(muchWork);
    await scene.clock.advance(10 * second);
    assert.equal(scene.releases.length, 2);
    await scene.clock.advance(60 * minute);
    assert.equal(scene.releases.length, 2);
  });

  it('waits ten minutes after little work', async () => {
    await using scene = new Scene();
    scene.memory.worked();
    await scene.clock.advance(10 * second);
    scene.memory.worked();
    await scene.clock.advance(9 * minute);
    assert.equal(scene.releases.length, 1);
    await scene.clock.advance(minute);
    assert.equal(scene.releases.length, 2);
  });

  it('waits until nothing is left to do', async () => {
    await using scene = new Scene();
    scene.idle = false;
    scene.memory.worked(muchWork);
    await scene.clock.advance(minute);
    assert.deepEqual(scene.releases, []);
    scene.idle = true;
    await scene.clock.advance(10 * second);
    assert.equal(scene.releases.length, 1);
  });
});
