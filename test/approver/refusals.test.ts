import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Refusals } from '../../src/approver/refusals.ts';
import { second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';

const failure = { code: 'API_FORBIDDEN', message: 'cannot get nodes', remedy: 'Bind it' } as const;

function scene(): { readonly clock: FakeClock; readonly refusals: Refusals<'read' | 'write'> } {
  const clock = new FakeClock();
  return { clock, refusals: new Refusals(clock, () => 0) };
}

describe('Refusals', () => {
  it('fails requests of a refused kind, and says when to try again', async () => {
    const { clock, refusals } = scene();
    assert.equal(refusals.failureOf('read'), undefined);
    assert.deepEqual(refusals.refused('read', failure), { ...failure, retryAfterMs: 10 * second });
    await clock.advance(4 * second);
    assert.deepEqual(refusals.failureOf('read'), { ...failure, retryAfterMs: 6 * second });
    assert.equal(refusals.failureOf('write'), undefined);
    await clock.advance(6 * second);
    assert.equal(refusals.failureOf('read'), undefined);
  });

  it('lets one request try while others wait for its result', async () => {
    const { clock, refusals } = scene();
    refusals.refused('read', failure);
    await clock.advance(10 * second);
    refusals.enter('read');
    assert.equal(refusals.failureOf('read')?.retryAfterMs, 10 * second);
    refusals.unused('read');
    assert.equal(refusals.failureOf('read'), undefined);
    refusals.allowed('read');
    refusals.enter('read');
    assert.equal(refusals.failureOf('read'), undefined);
  });

  it('counts refusals of requests that were sent together as one', async () => {
    const { refusals } = scene();
    for (let request = 0; request < 16; request += 1) {
      assert.equal(refusals.refused('read', failure).retryAfterMs, 10 * second);
    }
  });

  it('waits longer after each refusal, up to 20 s, and as long as Retry-After says', async () => {
    const { clock, refusals } = scene();
    const delays: number[] = [];
    for (let refusal = 0; refusal < 7; refusal += 1) {
      refusals.enter('read');
      const { retryAfterMs = 0 } = refusals.refused('read', failure);
      delays.push(retryAfterMs / second);
      await clock.advance(retryAfterMs);
    }
    assert.deepEqual(delays, [10, 10, 10, 10, 16, 20, 20]);
    refusals.enter('read');
    const asked = refusals.refused('read', { ...failure, retryAfterMs: 60 * second });
    assert.equal(asked.retryAfterMs, 60 * second);
  });
});
