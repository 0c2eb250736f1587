import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute } from '../../src/core/instant.ts';
import type { ReissueOptions } from '../../src/core/trust-reissue.ts';
import { reissueOf } from '../../src/core/trust-reissue.ts';

const since = Date.UTC(2026, 0, 10);

function reissue(storedAt: number, changes: Partial<ReissueOptions> = {}) {
  return reissueOf({
    since,
    pair: { notBefore: storedAt - 5 * minute, storedAt },
    fraction: 0.5,
    spreadMs: hour,
    isHeld: false,
    now: since + 30 * day,
    ...changes,
  });
}

describe('reissueOf()', () => {
  it('spreads the first request', () => {
    const at = since + 30 * minute;
    assert.deepEqual(reissue(since - day), { kind: 'scheduled', at });
    assert.deepEqual(reissue(since - day, { fraction: 0 }), { kind: 'scheduled', at: since });
  });

  it('makes at most five requests in a day, and two a day later', () => {
    const times = [since + 30 * minute];
    while ((times.at(-1) ?? 0) < since + 3 * day) {
      const next = reissue(times.at(-1) ?? 0);
      assert.ok(next.kind === 'waiting-for-signer');
      times.push(next.at);
    }
    const hours = times.map((time) => (time - since) / hour - 0.5);
    assert.deepEqual(hours, [0, 1, 3, 7, 15, 27, 39, 51, 63, 75]);
  });

  it('waits for an hour after any certificate, however often the signer alternates', () => {
    const now = since + 10 * minute;
    assert.deepEqual(reissue(since - 10 * minute, { fraction: 0, now }), {
      kind: 'scheduled',
      at: since + 50 * minute,
    });
  });

  it('counts times in the future as now', () => {
    const now = since - 20 * 365 * day;
    const next = reissue(since + hour, { now });
    assert.ok(next.kind === 'waiting-for-signer' && next.at <= now + 12 * hour);
    const scheduled = reissue(now - day, { now });
    assert.deepEqual(scheduled, { kind: 'scheduled', at: now + 30 * minute });
  });

  it('counts from the validity if the file is older', () => {
    const notBefore = since + 2 * hour;
    const next = reissue(0, { pair: { notBefore, storedAt: since - day } });
    assert.equal(next.kind, 'waiting-for-signer');
  });

  it('has no time while it is held', () => {
    assert.deepEqual(reissue(since - day, { isHeld: true }), { kind: 'held' });
  });
});
