import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CsrRecord } from './csr-cleaning.ts';
import { cleaningReason } from './csr-cleaning.ts';
import { day, hour, minute } from '../../src/core/instant.ts';
import { start } from '../core/fixtures.ts';

const decided = (...types: readonly string[]): Pick<CsrRecord, 'conditions'> => ({
  conditions: types.map((type) => ({ type, updatedAt: start })),
});

describe('cleaningReason()', () => {
  /** The age at which the CSR is deleted, from its creation or decision. */
  const limits: readonly (readonly [string, string, Partial<CsrRecord>, number])[] = [
    ['a pending request', 'pending', {}, day],
    ['an approved one without a certificate', 'unissued', decided('Approved'), day],
    ['a denied one', 'denied', decided('Denied'), hour],
    ['a failed one', 'failed', decided('Approved', 'Failed'), hour],
    ['an issued one', 'issued', { ...decided('Approved'), notAfter: start + 9 * hour }, hour],
    ['an expired one', 'expired', { ...decided('Approved'), notAfter: start + minute }, minute],
  ];
  for (const [name, reason, parts, limit] of limits) {
    it(`is "${reason}" for ${name} after ${limit / minute} minutes, not before`, () => {
      const csr: CsrRecord = { createdAt: start, conditions: [], ...parts };
      assert.equal(cleaningReason(csr, start + limit), undefined);
      assert.equal(cleaningReason(csr, start + limit + 1), reason);
    });
  }

  it('counts from the decision, not from the creation', () => {
    const csr: CsrRecord = { createdAt: start - 9 * day, ...decided('Denied') };
    assert.equal(cleaningReason(csr, start + hour), undefined);
  });

  it('keeps a CSR without a decision, and one of unknown age', () => {
    const createdAt = start - 9 * day;
    assert.equal(cleaningReason({ createdAt, ...decided('Checked') }, start), undefined);
    const conditions = [{ type: 'Denied', updatedAt: Number.NaN }];
    assert.equal(cleaningReason({ createdAt, conditions }, start), undefined);
  });
});
