import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute } from '../../../src/core/instant.ts';
import type { Lifetime } from '../../../src/pki/renewal/lifetime.ts';
import { parseLifetime, validityOf } from '../../../src/pki/renewal/lifetime.ts';

describe('parseLifetime()', () => {
  const rows = [
    ['10y', 3650 * day],
    ['90d', 90 * day],
    ['8760h', 365 * day],
    ['10m', 10 * minute],
  ] as const;
  for (const [text, ms] of rows) {
    it(`reads ${text}`, () => assert.deepEqual(parseLifetime(text), { kind: 'duration', ms }));
  }

  it('reads ca', () => assert.deepEqual(parseLifetime('ca'), { kind: 'authority' }));

  for (const text of ['', '1', '9m', '0y', '-1d', '1.5y', '1w', '99999999y', 'CA']) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseLifetime(text), { code: 'USAGE' });
    });
  }
});

const now = Date.UTC(2026, 10, 28, 12, 0, 0, 123);
const start = Date.UTC(2026, 10, 28, 12);
const ca = { notBefore: start - 2000 * day, notAfter: start + 1650 * day };
const issued = start - 300 * day;
const kubeadm = {
  notBefore: issued - 5 * minute,
  notAfter: issued + 365 * day,
  storedAt: issued,
};
const previous: Lifetime = { kind: 'previous' };

/** The end of a certificate that seems to be as old as its CA. */
function endAfter(storedAt: number, years = 1): number {
  const dated = { notBefore: ca.notBefore, notAfter: issued + years * 365 * day, storedAt };
  return validityOf({ lifetime: previous, previous: dated, authority: ca, now }).notAfter;
}

describe('validityOf()', () => {
  it('keeps the previous lifetime, and begins five minutes ago', () => {
    assert.deepEqual(validityOf({ lifetime: previous, previous: kubeadm, authority: ca, now }), {
      notBefore: start - 5 * minute,
      notAfter: start + 365 * day,
    });
  });

  it('begins with a CA that is younger than five minutes', () => {
    const authority = { ...ca, notBefore: start - minute };
    const validity = validityOf({ lifetime: previous, previous: kubeadm, authority, now });
    assert.equal(validity.notBefore, start - minute);
  });

  it('ends with the CA, and returns the requested end', () => {
    const lifetime: Lifetime = { kind: 'duration', ms: 3650 * day };
    const validity = validityOf({ lifetime, previous: kubeadm, authority: ca, now });
    assert.equal(validity.notAfter, ca.notAfter);
    assert.equal(validity.wanted, start + 3650 * day);
  });

  it('ends with the CA on request', () => {
    const lifetime: Lifetime = { kind: 'authority' };
    const validity = validityOf({ lifetime, previous: kubeadm, authority: ca, now });
    assert.deepEqual(validity, { notBefore: start - 5 * minute, notAfter: ca.notAfter });
  });

  describe('after an older kubeadm, which dates back to the beginning of the CA', () => {
    it('counts the lifetime from the time of the file', () => {
      assert.equal(endAfter(issued), start + 365 * day);
      assert.equal(endAfter(issued, 3), start + 3 * 365 * day);
    });

    it('takes a year if the file was copied later', () => {
      assert.equal(endAfter(issued + 200 * day), start + 365 * day);
    });

    it('takes the whole lifetime of a certificate as young as its CA', () => {
      const young = {
        notBefore: ca.notBefore,
        notAfter: ca.notBefore + 200 * day,
        storedAt: ca.notBefore + hour,
      };
      const validity = validityOf({ lifetime: previous, previous: young, authority: ca, now });
      assert.equal(validity.notAfter - validity.notBefore, 200 * day);
    });
  });
});
