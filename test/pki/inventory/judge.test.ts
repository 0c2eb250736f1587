import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour } from '../../../src/core/instant.ts';
import type { JudgedCertificate } from '../../../src/pki/inventory/judge.ts';
import {
  defaultThreshold,
  judge,
  parseThreshold,
  thresholdOf,
} from '../../../src/pki/inventory/judge.ts';

const now = Date.UTC(2026, 10, 28);
const year = 365 * day;

/** A certificate of a year with 200 days left, and its CA of ten years with five left. */
const fine: JudgedCertificate = {
  name: 'apiserver',
  certificate: {
    notBefore: now - 165 * day,
    notAfter: now + 200 * day,
    isAuthority: false,
    issuer: 'CN=kubernetes',
  },
  managedBy: 'kubeadm',
  key: { present: true, matches: true, path: '/pki/apiserver.key', readableByAll: false },
  issuer: { notBefore: now - 5 * year, notAfter: now + 5 * year },
  renewal: 'Renew it',
};

function left(days: number): JudgedCertificate {
  const notAfter = now + days * day;
  return { ...fine, certificate: { ...fine.certificate, notBefore: notAfter - year, notAfter } };
}

const options = { now, threshold: defaultThreshold };

describe('judge()', () => {
  const rows: readonly (readonly [string, JudgedCertificate, string, RegExp])[] = [
    ['200 days left', fine, 'ok', /^$/],
    ['37 days of a year left', left(37), 'ok', /^$/],
    ['36 days of a year left', left(36), 'expiring', /^expires in 36d$/],
    ['the second of its end', left(0), 'expired', /^expired 0s ago$/],
    ['its end in the past', left(-2), 'expired', /^expired 2d ago$/],
    ['its start in the future', left(400), 'not-yet-valid', /^becomes valid in 35d$/],
    [
      'the key of another certificate',
      { ...fine, key: { present: true, path: '/pki/apiserver.key', matches: false } },
      'key-mismatch',
      /^\/pki\/apiserver\.key belongs to another certificate$/,
    ],
    [
      'a key that is missing',
      { ...fine, key: { present: false, path: '/pki/apiserver.key' } },
      'key-mismatch',
      /^\/pki\/apiserver\.key does not exist$/,
    ],
    ['a signature of another CA', { ...fine, issuer: 'wrong' }, 'wrong-ca', /CN=kubernetes/],
    [
      'a newer certificate elsewhere',
      { ...fine, newer: { name: 'admin.conf', notAfter: now + year } },
      'stale-copy',
      /old copy of admin\.conf/,
    ],
    [
      'the kubelet as manager and 36 days left',
      { ...left(36), managedBy: 'kubelet' },
      'overdue',
      /past its rotation window/,
    ],
    [
      'a CA that ends first',
      { ...fine, issuer: { notBefore: now - 5 * year, notAfter: now + 190 * day } },
      'ca-ends-first',
      /^its CA expires in 190d, 10d before the certificate$/,
    ],
    [
      'a CA that ends before a renewed certificate would',
      { ...fine, issuer: { notBefore: now - 9 * year, notAfter: now + 300 * day } },
      'ca-ends-first',
      /before a renewed certificate would$/,
    ],
    [
      'the lifetime of its CA, both of ten years',
      {
        ...fine,
        certificate: { ...fine.certificate, notBefore: now - 5 * year, notAfter: now + 5 * year },
      },
      'ok',
      /^$/,
    ],
    [
      'a key that every user can read',
      { ...fine, key: { present: true, matches: true, path: '/k', readableByAll: true } },
      'mode',
      /^every user can read \/k$/,
    ],
  ];
  for (const [what, item, state, reason] of rows) {
    it(`is ${state} with ${what}`, () => {
      const judgment = judge(item, options);
      assert.equal(judgment.state, state);
      assert.match(judgment.reason ?? '', reason);
      assert.equal(judgment.remedy === undefined, state === 'ok');
    });
  }

  it('names the worst state: an expired certificate with the wrong key is expired', () => {
    const item = { ...left(-1), key: { present: true, matches: false } };
    assert.equal(judge(item, options).state, 'expired');
  });

  it('takes a threshold in time', () => {
    const threshold = { kind: 'duration', ms: 201 * day } as const;
    assert.equal(judge(fine, { now, threshold }).state, 'expiring');
  });
});

describe('parseThreshold()', () => {
  const rows = [
    ['10%', year, 36.5 * day],
    ['0.5%', 1000 * day, 5 * day],
    ['30d', year, 30 * day],
    ['720h', year, 720 * hour],
  ] as const;
  for (const [text, lifetime, expected] of rows) {
    it(`reads ${text}`, () => {
      const threshold = parseThreshold(text);
      assert.ok(threshold);
      assert.equal(thresholdOf(threshold, lifetime), expected);
    });
  }

  for (const text of ['', '10', '101%', '-3d', '3w', 'd', '1e3d']) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(parseThreshold(text), undefined);
    });
  }
});
