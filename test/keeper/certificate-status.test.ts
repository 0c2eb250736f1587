import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isOverdue, isUsable } from '../../src/core/rotation-due.ts';
import { certificateStatus } from '../../src/keeper/certificate-status.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import type { Phase, RotationState } from '../../src/core/rotation-state.ts';
import type { CertificateState } from '../../src/core/status.ts';
import { pairFor, servingSpec, servingTemplate, start } from '../core/fixtures.ts';

const pair = pairFor(servingTemplate);
const idle: RotationState = {
  phase: { kind: 'idle', since: start },
  pair,
  deadline: start + 50 * minute,
  template: servingTemplate,
  observed: false,
  identityReady: true,
  notBefore: start,
  failures: 0,
  streak: 0,
  abandoned: 0,
  rotations: 0,
};
const { template: _template, ...withoutTemplate } = idle;
const { pair: _pair, deadline: _deadline, ...withoutPair } = idle;
const csr = { name: 'csr-1', uid: 'u', createdAt: start };

const enrolling = (stage: Extract<Phase, { kind: 'enrolling' }>['stage']): RotationState => ({
  ...idle,
  phase: {
    kind: 'enrolling',
    since: start,
    stage,
    stageSince: start,
    template: servingTemplate,
    csr,
  },
});
const backingOff: RotationState = {
  ...idle,
  failures: 2,
  lastFailure: { code: 'CSR_DENIED', message: 'no', at: start },
  phase: { kind: 'backing-off', since: start, delay: hour, retry: 'enroll' },
};
const inspecting: Phase = { kind: 'inspecting', since: start };

const status = (state: RotationState, now = start): ReturnType<typeof certificateStatus> =>
  certificateStatus({ spec: servingSpec, path: '/pki/current.pem', state, now });

describe('certificateStatus()', () => {
  const words: readonly (readonly [string, CertificateState, RotationState, number?])[] = [
    ['the first inspection', 'starting', { ...withoutPair, phase: inspecting }],
    ['a later inspection', 'valid', { ...idle, phase: inspecting }],
    ['a good pair', 'valid', idle],
    ['a pair that is not valid yet', 'not-yet-valid', idle, start - 2 * minute],
    ['a pair that becomes valid within a minute', 'valid', idle, start - minute],
    [
      'the same pair while its server clock check is due',
      'requesting',
      { ...idle, checkServerClockAt: start - hour, notBefore: start - hour },
      start - 2 * minute,
    ],
    ['a pair that the kubelet rotates', 'observing', { ...idle, observed: true }],
    [
      'a missing pair that the kubelet should rotate',
      'observing',
      { ...withoutPair, observed: true },
    ],
    ['no template', 'waiting-for-addresses', { ...withoutPair, template: undefined as never }],
    ['no identity', 'waiting-for-identity', { ...withoutPair, identityReady: false }],
    ['a good pair without a template', 'valid', withoutTemplate],
    ['unfinished requests', 'backing-off', { ...withoutPair, notBefore: start + minute }],
    [
      'a rotation too soon after the last one',
      'requesting',
      { ...idle, storedAt: start, deadline: start },
    ],
    ['a request in progress', 'requesting', enrolling('requesting')],
    ['a pending CSR', 'pending-approval', enrolling('pending')],
    ['an approved CSR', 'pending-issuance', enrolling('approved')],
    ['an issued CSR', 'requesting', enrolling('issued')],
    ['a failure', 'backing-off', backingOff],
    [
      'an expired pair without identity',
      'waiting-for-identity',
      { ...idle, identityReady: false },
      start + 2 * hour,
    ],
  ];
  for (const [what, word, state, now] of words) {
    it(`calls ${what} ${word}`, () => {
      assert.equal(status(state, now).state, word);
    });
  }

  it('shows the CSR, the last failure and the next attempt', () => {
    assert.deepEqual(status(enrolling('pending')).csr, csr);
    const shown = status(backingOff);
    assert.equal(shown.attempts, 2);
    assert.equal(shown.nextAttempt, start + hour);
    assert.equal(shown.lastFailure?.code, 'CSR_DENIED');
    assert.equal('csr' in shown, false);
    assert.equal('nextAttempt' in status(idle), false);
  });

  it('shows no deadline of a temporary self-signed certificate', () => {
    assert.equal(status(idle).rotationDeadline, start + 50 * minute);
    const shown = status({ ...idle, pair: { ...pair, selfSigned: true } });
    assert.equal('rotationDeadline' in shown, false);
  });
});

describe('isUsable()', () => {
  const cases: readonly (readonly [string, Partial<typeof pair> | undefined, number, boolean])[] = [
    ['a pair from its first moment', {}, start, true],
    ['a pair that is not valid yet', {}, start - 1, false],
    ['a pair in its last moment', {}, start + hour - 1, true],
    ['an expired pair', {}, start + hour, false],
    ['a temporary self-signed certificate', { selfSigned: true }, start, false],
    ['no pair', undefined, start, false],
  ];
  for (const [what, changes, now, usable] of cases) {
    it(`${usable ? 'accepts' : 'rejects'} ${what}`, () => {
      const state =
        changes === undefined ? withoutPair : { ...idle, pair: { ...pair, ...changes } };
      assert.equal(isUsable(state, now), usable);
    });
  }
});

describe('isOverdue()', () => {
  const grace = hour / 50;
  it('is true a fiftieth of the lifetime after the deadline', () => {
    assert.equal(isOverdue(idle, start + 50 * minute + grace), false);
    assert.equal(isOverdue(idle, start + 50 * minute + grace + second), true);
  });

  it('is true for an expired pair, never for a temporary self-signed one', () => {
    assert.equal(isOverdue(idle, start + 9 * hour), true);
    const putOff = { ...idle, deadline: start + 9 * hour };
    assert.equal(isOverdue(putOff, start + hour + grace + second), true);
    const standIn = { ...idle, pair: { ...pair, selfSigned: true } };
    assert.equal(isOverdue(standIn, start + 9 * hour), false);
    assert.equal(isOverdue(withoutPair, start + 9 * hour), false);
  });
});
