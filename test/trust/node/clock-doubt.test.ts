import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import { clockDoubt } from '../../../src/trust/node/clock-doubt.ts';

const now = Date.UTC(2026, 10, 29);
const valid = { subject: 'CN=kubernetes', notBefore: now - day, notAfter: now + day };
const expired = { ...valid, notAfter: now - 1 };
const early = { ...valid, notBefore: now + 1 };

describe('clockDoubt()', () => {
  it('has none for a CA that is valid, also without a time service', () => {
    assert.equal(clockDoubt([valid], { now, sync: 'unknown' }), undefined);
    assert.equal(clockDoubt([valid, expired], { now, sync: 'unknown' }), undefined);
    assert.equal(clockDoubt([], { now, sync: 'unknown' }), undefined);
  });

  it('has one for a CA of this node that is not valid yet', () => {
    const doubt = clockDoubt([valid, early], { now, sync: 'synchronized' });
    assert.match(doubt ?? '', /shows 2026-11-29T00:00:00Z, but the CA CN=kubernetes/);
  });

  it('has one if every CA has expired, unless a time service confirms the clock', () => {
    assert.match(
      clockDoubt([expired], { now, sync: 'unknown' }) ?? '',
      /does not confirm the clock/,
    );
    assert.equal(clockDoubt([expired], { now, sync: 'synchronized' }), undefined);
  });

  it('has one for a clock that is not synchronized', () => {
    assert.match(clockDoubt([valid], { now, sync: 'unsynchronized' }) ?? '', /NTPSynchronized=no/);
  });
});
