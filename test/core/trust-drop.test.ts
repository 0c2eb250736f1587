import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour } from '../../src/core/instant.ts';
import type { DropFacts } from '../../src/core/trust-drop.ts';
import { reasonsToKeep } from '../../src/core/trust-drop.ts';

const now = Date.UTC(2026, 10, 29);

/** A CA that can be dropped. */
const droppable: DropFacts = {
  notAfter: now + day,
  now,
  isClockTrusted: true,
  otherAuthorities: 1,
  missingSince: now - day,
  isSourceRead: true,
  dropAfterMs: day,
  unverified: [],
  leaves: [],
  reader: 'current',
};

const violations: readonly (readonly [string, Partial<DropFacts>, RegExp])[] = [
  ['the last CA', { otherAuthorities: 0 }, /only valid CA/],
  ['a CA that the source has', { missingSince: undefined }, /the source has it/],
  [
    'a CA that the source has not lacked for long enough',
    { missingSince: now - 3 * hour },
    /lacked it for 3h, and trust.dropAfter is 1d/,
  ],
  ['a CA while no source can be read', { isSourceRead: false }, /no source/],
  ['a CA that an API server needs', { unverified: ['10.0.0.1 needs it'] }, /10.0.0.1 needs it/],
  ['the issuer of a certificate', { leaves: ['/pki/client.pem'] }, /it issued .*client.pem/],
  ['a CA while the kubelet may not use the others', { reader: 'pending' }, /kubelet may not use/],
  ['a CA while the kubelet is not visible', { reader: 'unknown' }, /does not see the kubelet/],
  ['a CA while the clock may be wrong', { isClockTrusted: false }, /clock/],
  [
    'an expired CA while the clock may be wrong',
    { notAfter: now - day, isClockTrusted: false },
    /clock/,
  ],
  ['the last CA, although it has expired', { notAfter: now - day, otherAuthorities: 0 }, /only/],
  ['a CA that is missing since a time in the future', { missingSince: now + day }, /for 0s/],
];

describe('reasonsToKeep()', () => {
  it('has none if every condition holds', () => {
    assert.deepEqual(reasonsToKeep(droppable), []);
  });

  for (const [what, facts, reason] of violations) {
    it(`keeps ${what}`, () => {
      const reasons = reasonsToKeep({ ...droppable, ...facts });
      assert.equal(reasons.length, 1, reasons.join('; '));
      assert.match(reasons[0] ?? '', reason);
    });
  }

  it('has no condition for an expired CA but another valid one', () => {
    const expired = { ...droppable, notAfter: now - 1, leaves: ['/a.pem'], isSourceRead: false };
    assert.deepEqual(reasonsToKeep({ ...expired, reader: 'pending' }), []);
  });
});
