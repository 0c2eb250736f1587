import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { sleepOnEitherClock, sleepUntil, systemClock } from '../../src/sys/clock.ts';
import { FakeClock } from '../support/fake-clock.ts';

const never = new AbortController().signal;

const aborted = (error: unknown): boolean =>
  error instanceof AgentError && error.code === 'ABORTED';

describe('systemClock', () => {
  it('now() returns the time of day', () => {
    const before = Date.now();
    const now = systemClock.now();
    assert.ok(now >= before && now <= Date.now());
  });

  it('sleep() resolves at once for a negative time', async () => {
    await systemClock.sleep(-1, never);
    await systemClock.sleep(0, never);
  });

  it('sleep() rejects with ABORTED on abort, even before the start', async () => {
    const controller = new AbortController();
    const sleeping = systemClock.sleep(hour, controller.signal);
    controller.abort(new Error('stopping'));
    await assert.rejects(sleeping, aborted);
    await assert.rejects(systemClock.sleep(hour, controller.signal), aborted);
  });

  for (const ms of [2 ** 31, 400 * day, Infinity]) {
    it(`sleep() waits longer than setTimeout does for ${ms} ms`, async () => {
      const controller = new AbortController();
      const sleeping = systemClock.sleep(ms, controller.signal);
      const woken = sleeping.then(
        () => 'woke up',
        () => 'aborted',
      );
      await systemClock.sleep(20, never);
      controller.abort();
      assert.equal(await woken, 'aborted');
    });
  }
});

describe('sleepOnEitherClock()', () => {
  it('resolves after the time, not before', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepOnEitherClock(clock, hour, never));
    await clock.advance(hour - 1);
    assert.equal(wait.over, false);
    await clock.advance(1);
    assert.equal(wait.over, true);
  });

  it('resolves within a minute after a suspend', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepOnEitherClock(clock, hour, never));
    await clock.advance(second);
    clock.jump(hour);
    await clock.advance(minute);
    assert.equal(wait.over, true);
  });

  it('resolves after the time although the clock is set back', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepOnEitherClock(clock, hour, never));
    await clock.advance(30 * minute);
    clock.jump(-day);
    await clock.advance(30 * minute - 1);
    assert.equal(wait.over, false);
    await clock.advance(1);
    assert.equal(wait.over, true);
  });

  it('rejects with ABORTED on abort', async () => {
    const controller = new AbortController();
    const wait = sleepOnEitherClock(new FakeClock(), hour, controller.signal);
    controller.abort();
    await assert.rejects(wait, aborted);
  });
});

describe('sleepUntil()', () => {
  it('resolves at the time, not before', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepUntil(clock, clock.now() + hour, never));
    await clock.advance(hour - 1);
    assert.equal(wait.over, false);
    await clock.advance(1);
    assert.equal(wait.over, true);
  });

  it('resolves at once for a time in the past', async () => {
    const clock = new FakeClock();
    await sleepUntil(clock, clock.now(), never);
    await sleepUntil(clock, clock.now() - day, never);
    assert.equal(clock.sleeping, 0);
  });

  it('notices within a minute that the clock was set forward', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepUntil(clock, clock.now() + 300 * day, never));
    await clock.advance(10 * second);
    clock.jump(300 * day);
    await clock.advance(minute);
    assert.equal(wait.over, true);
  });

  it('waits for the time of day if the clock was set back', async () => {
    const clock = new FakeClock();
    const wait = watch(sleepUntil(clock, clock.now() + hour, never));
    clock.jump(-hour);
    await clock.advance(hour);
    assert.equal(wait.over, false);
    await clock.advance(hour);
    assert.equal(wait.over, true);
  });

  it('never sets a timer above a minute', async () => {
    const slices: number[] = [];
    const clock = new FakeClock();
    const spy = {
      now: () => clock.now(),
      elapsed: () => clock.elapsed(),
      sleep: (ms: number, signal: AbortSignal) => {
        slices.push(ms);
        return clock.sleep(ms, signal);
      },
    };
    const wait = watch(sleepUntil(spy, clock.now() + 150 * second, never));
    await clock.advance(hour);
    assert.equal(wait.over, true);
    assert.deepEqual(slices, [minute, minute, 30 * second]);
  });

  it('rejects with ABORTED while it waits', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const wait = assert.rejects(sleepUntil(clock, clock.now() + day, controller.signal), aborted);
    await clock.advance(hour);
    controller.abort();
    await wait;
    assert.equal(clock.sleeping, 0);
  });
});

/** Whether the wait is over. Awaiting the promise would wait for it. */
function watch(promise: Promise<void>): { readonly over: boolean } {
  const state = { over: false };
  void (async () => {
    await promise;
    state.over = true;
  })();
  return state;
}
