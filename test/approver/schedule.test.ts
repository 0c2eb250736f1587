import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Schedule } from '../../src/approver/schedule.ts';
import { minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

function start(): {
  readonly clock: FakeClock;
  readonly schedule: Schedule;
  readonly fired: string[];
} & AsyncDisposable {
  const clock = new FakeClock();
  const schedule = new Schedule(clock);
  const fired: string[] = [];
  const stop = new AbortController();
  const run = schedule.run(stop.signal, (name) => fired.push(`${name}@${clock.elapsed()}`));
  const ended = run.catch(() => undefined);
  return {
    clock,
    schedule,
    fired,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}

describe('Schedule', () => {
  it('fires each name at its own time, with one timer', async () => {
    await using scene = start();
    scene.schedule.set('late', 5 * second);
    scene.schedule.set('soon', second);
    scene.schedule.set('sooner', second / 2);
    await scene.clock.advance(0);
    assert.equal(scene.clock.sleeping, 1);
    await scene.clock.advance(minute);
    assert.deepEqual(scene.fired, ['sooner@500', 'soon@1000', 'late@5000']);
  });

  it('replaces an earlier time, and forgets deleted names', async () => {
    await using scene = start();
    scene.schedule.set('moved', second);
    scene.schedule.set('moved', 3 * second);
    scene.schedule.set('gone', 2 * second);
    scene.schedule.delete('gone');
    await scene.clock.advance(minute);
    assert.deepEqual(scene.fired, ['moved@3000']);
  });
});
