import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Every test that involves time relies on this clock, so it has its own tests. */

const never = new AbortController().signal;

describe('FakeClock', () => {
  it('does not move on its own', () => {
    const clock = new FakeClock(1_000);
    assert.equal(clock.now(), 1_000);
    assert.equal(clock.now(), 1_000);
  });

  it('advance() wakes sleepers in order, each at its own time', async () => {
    const clock = new FakeClock(0);
    const woken: string[] = [];
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms, never);
      woken.push(`${name} at ${clock.now()}`);
    };
    const all = [sleeper('late', 3 * second), sleeper('early', second), sleeper('now', 0)];
    assert.equal(clock.sleeping, 3);
    await clock.advance(minute);
    assert.deepEqual(woken, ['now at 0', 'early at 1000', 'late at 3000']);
    assert.equal(clock.now(), minute);
    assert.equal(clock.sleeping, 0);
    await Promise.all(all);
  });

  it('advance() also runs sleeps that woken sleepers start', async () => {
    const clock = new FakeClock(0);
    let beats = 0;
    const heart = (async () => {
      for (; beats < 60; beats += 1) await clock.sleep(second, never);
    })();
    await clock.advance(minute);
    assert.equal(beats, 60);
    await heart;
  });

  it('advance() does not wake sleepers that are due later', async () => {
    const clock = new FakeClock(0);
    const sleeping = clock.sleep(hour, never);
    await clock.advance(hour - 1);
    assert.equal(clock.sleeping, 1);
    await clock.advance(1);
    await sleeping;
  });

  it('jump() moves the wall clock and not the timers', async () => {
    const clock = new FakeClock(0);
    const sleeping = clock.sleep(minute, never);
    clock.jump(hour);
    await clock.advance(0);
    assert.equal(clock.now(), hour);
    assert.equal(clock.sleeping, 1);
    await clock.advance(minute);
    await sleeping;
    assert.equal(clock.now(), hour + minute);
  });

  it('sleep() rejects with ABORTED once and forgets the sleeper', async () => {
    const clock = new FakeClock(0);
    const controller = new AbortController();
    const sleeping = clock.sleep(minute, controller.signal);
    controller.abort();
    await assert.rejects(sleeping, aborted);
    await assert.rejects(clock.sleep(minute, controller.signal), aborted);
    assert.equal(clock.sleeping, 0);
  });
});

function aborted(error: unknown): boolean {
  return error instanceof AgentError && error.code === 'ABORTED';
}
