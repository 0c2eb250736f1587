import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadline } from '../../src/kube/deadline.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('Deadline', () => {
  const clock = new FakeClock();
  const never = new AbortController().signal;
  const start = (ms: number): Deadline => new Deadline({ clock, ms, signal: never, what: 'x' });

  it('fires after its time', async () => {
    using deadline = start(100);
    await clock.advance(99);
    assert.equal(deadline.signal.aborted, false);
    await clock.advance(1);
    assert.match(String(deadline.signal.reason), /x: no complete response within 0\.1 s/);
  });

  it('fires at the later time after a restart, with one timer', async () => {
    using deadline = start(100);
    for (let at = 0; at < 50; at += 1) deadline.restart(200);
    assert.equal(clock.sleeping, 1);
    await clock.advance(199);
    assert.equal(deadline.signal.aborted, false);
    await clock.advance(1);
    assert.match(String(deadline.signal.reason), /within 0\.2 s/);
  });

  it('fires at the earlier time after a restart', async () => {
    using deadline = start(1_000);
    deadline.restart(10);
    await clock.advance(10);
    assert.match(String(deadline.signal.reason), /within 0\.01 s/);
  });

  it('never fires once it is disposed of', async () => {
    const deadline = start(100);
    deadline.restart(200);
    deadline[Symbol.dispose]();
    await clock.advance(1_000);
    assert.deepEqual([deadline.signal.aborted, clock.sleeping], [false, 0]);
  });
});
