import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RequestGate } from '../../src/approver/request-gate.ts';
import { second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

const never = new AbortController().signal;

/** Sixteen workers at a gate, and the times at which they passed. */
function workersAt(gate: RequestGate, clock: FakeClock, signal = never): number[] {
  const passed: number[] = [];
  for (let worker = 0; worker < 16; worker += 1) {
    void gate.enter(signal).then(
      () => passed.push(clock.elapsed()),
      () => undefined,
    );
  }
  return passed;
}

describe('RequestGate', () => {
  it('lets everyone pass while requests succeed', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    const passed = workersAt(gate, clock);
    await clock.advance(0);
    assert.equal(passed.length, 16);
  });

  it('lets one request at a time pass after a failure, with growing pauses', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    gate.failed(0);
    const passed = workersAt(gate, clock);
    for (let probe = 0; probe < 7; probe += 1) {
      const before = passed.length;
      while (passed.length === before) await clock.advance(second / 4);
      gate.failed(0);
    }
    assert.deepEqual(
      passed,
      [1, 3, 7, 15, 31, 51, 71].map((at) => at * second),
    );
    while (passed.length === 7) await clock.advance(second);
    gate.succeeded();
    await clock.advance(0);
    assert.equal(passed.length, 16);
  });

  it('counts requests that failed together as one failure, and ignores late successes', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    for (let request = 0; request < 10; request += 1) gate.failed(0);
    gate.succeeded();
    const passed = workersAt(gate, clock);
    await clock.advance(second - 1);
    assert.equal(passed.length, 0);
    await clock.advance(1);
    assert.equal(passed.length, 1);
  });

  it('stays closed as long as Retry-After says', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    gate.failed(7 * second);
    const passed = workersAt(gate, clock);
    await clock.advance(7 * second - 1);
    assert.equal(passed.length, 0);
    await clock.advance(1);
    assert.equal(passed.length, 1);
  });

  it('lets another worker probe if the first one sent no request', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    gate.failed(0);
    const passed = workersAt(gate, clock);
    await clock.advance(second);
    gate.unused();
    await clock.advance(0);
    assert.equal(passed.length, 2);
    assert.ok(!gate.isOpen);
  });

  it('lets waiting workers go when their signal fires', async () => {
    const clock = new FakeClock();
    const gate = new RequestGate(clock, () => 0);
    const stop = new AbortController();
    gate.failed(0);
    await clock.advance(second);
    await gate.enter(never);
    const waiting = gate.enter(stop.signal);
    stop.abort();
    await assert.rejects(waiting, { code: 'ABORTED' });
  });
});
