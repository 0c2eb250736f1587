import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PendingRequests } from '../../src/keeper/pending-requests.ts';
import type { EnrollerReply, EnrollerRequest } from '../../src/core/enroller-protocol.ts';
import { clientTemplate, pairFor } from '../core/fixtures.ts';

const inspect = { type: 'inspect', name: 'a' } as const;
const selfSign = { type: 'self-sign', name: 'a' } as const;
const lookUp = { type: 'look-up-addresses', follow: true } as const;
const enroll = { type: 'enroll', name: 'a', template: clientTemplate } as const;
const checkServed = { type: 'check-served', name: 'a', serial: '1', withinMs: 0 } as const;
const rollBack = { type: 'roll-back', name: 'a', serial: '1' } as const;

const failure = { code: 'API_UNREACHABLE', message: 'away' } as const;
const csr = { name: 'csr-1', uid: 'u', createdAt: 0 };
const inspected: EnrollerReply = { type: 'inspected', findings: [] };
const served: EnrollerReply = { type: 'served', outcome: { kind: 'replaced' } };
const rolledBack: EnrollerReply = { type: 'rolled-back', outcome: { kind: 'replaced' } };
const requested: EnrollerReply = { type: 'requested', csr };
const issued: EnrollerReply = { type: 'issued', csr };
const stored: EnrollerReply = { type: 'stored', pair: pairFor(clientTemplate), findings: [] };
const failed: EnrollerReply = { type: 'failed', failure, resumable: false };
const keyKept: EnrollerReply = { type: 'failed', failure, resumable: true };
const addresses = (final: boolean): EnrollerReply => ({ type: 'addresses', addresses: [], final });

/** A request, a reply to the nth request, or the command to forget the key of `a`. */
type Happening = EnrollerRequest | readonly [number, EnrollerReply] | 'abandon';

function isReply(one: Happening): one is readonly [number, EnrollerReply] {
  return Array.isArray(one);
}

function play(steps: readonly Happening[]): {
  readonly requests: PendingRequests;
  readonly heard: string[];
} {
  const requests = new PendingRequests();
  const heard: string[] = [];
  const ids: number[] = [];
  for (const one of steps) {
    if (one === 'abandon') requests.supersede('a');
    else if (isReply(one)) requests.deliver(ids[one[0] - 1] ?? 0, one[1]);
    else {
      const nth = ids.length + 1;
      ids.push(requests.open(one, ({ type }) => heard.push(`${nth} ${type}`)));
    }
  }
  return { requests, heard };
}

describe('PendingRequests', () => {
  const rows: readonly (readonly [string, readonly Happening[], boolean])[] = [
    ['nothing', [], true],
    ['an inspection', [inspect], false],
    ['an inspection with a reply', [inspect, [1, inspected]], true],
    ['two inspections with one reply', [inspect, selfSign, [1, inspected]], false],
    ['two inspections with two replies', [inspect, selfSign, [2, inspected], [1, inspected]], true],
    ['a failed inspection', [inspect, [1, { type: 'inspection-failed', failure }]], true],
    ['an enrollment', [enroll], false],
    ['a stored pair', [enroll, [1, stored]], true],
    ['a failure without a key', [enroll, [1, failed]], true],
    ['a failure with a key', [enroll, [1, keyKept]], false],
    ['a key that is forgotten', [enroll, [1, keyKept], 'abandon'], true],
    ['a stored pair that crosses the next enrollment', [enroll, enroll, [1, stored]], false],
    ['a failure that crosses the next enrollment', [enroll, enroll, [1, failed]], false],
    ['the end of two enrollments', [enroll, enroll, [1, failed], [2, stored]], true],
    ['a check of the served certificate', [checkServed], false],
    ['a check of the served certificate with a reply', [checkServed, [1, served]], true],
    ['a rollback', [rollBack], false],
    ['a rollback with a reply', [rollBack, [1, rolledBack]], true],
    ['a lookup', [lookUp], false],
    ['a lookup that continues', [lookUp, [1, addresses(false)]], false],
    ['a finished lookup', [lookUp, [1, addresses(true)]], true],
    ['a failed lookup', [lookUp, [1, { type: 'addresses-failed', failure }]], true],
    ['a second reply', [inspect, [1, inspected], [1, inspected]], true],
  ];
  for (const [what, steps, isEmpty] of rows) {
    it(`is ${isEmpty ? '' : 'not '}empty after ${what}`, () => {
      const { requests } = play(steps);
      assert.equal(requests.isEmpty, isEmpty);
      requests.clear();
      assert.equal(requests.isEmpty, true);
    });
  }

  it('delivers each reply to its own request', () => {
    const { heard } = play([inspect, enroll, [2, requested], [1, inspected], [2, stored]]);
    assert.deepEqual(heard, ['2 requested', '1 inspected', '2 stored']);
  });

  it('delivers late replies of a superseded enrollment until it ends', () => {
    const { heard } = play([enroll, 'abandon', [1, stored], [1, stored], enroll, [2, failed]]);
    assert.deepEqual(heard, ['1 stored', '2 failed']);
  });

  it('keeps at most one superseded enrollment per name', () => {
    const { heard } = play([enroll, enroll, enroll, [1, stored], [2, stored], [3, stored]]);
    assert.deepEqual(heard, ['2 stored', '3 stored']);
  });

  it('clear() reports the lost enroller to every request', () => {
    const { requests, heard } = play([inspect, enroll, [2, keyKept]]);
    requests.clear({ type: 'lost', failure });
    assert.deepEqual(heard, ['2 failed', '1 lost', '2 lost']);
    assert.equal(requests.isEmpty, true);
  });

  const silences: readonly (readonly [string, readonly Happening[], string | undefined])[] = [
    ['nothing', [], undefined],
    ['an inspection', [inspect], 'inspect a'],
    ['the second of two inspections', [inspect, inspect, [1, inspected]], 'inspect a'],
    ['an enrollment', [enroll], 'enroll a'],
    ['a pending CSR', [enroll, [1, requested]], undefined],
    [
      'a pending CSR without contact',
      [enroll, [1, requested], [1, { type: 'retrying', failure }]],
      undefined,
    ],
    ['an issued certificate', [enroll, [1, requested], [1, issued]], 'enroll a'],
    ['a key that is kept for the retry', [enroll, [1, keyKept]], undefined],
    ['a resumed request without a CSR', [enroll, [1, keyKept], enroll], 'enroll a'],
    [
      'a resumed request with a pending CSR',
      [enroll, [1, requested], [1, keyKept], enroll],
      undefined,
    ],
    [
      'a resumed request with an issued certificate',
      [enroll, [1, requested], [1, issued], [1, keyKept], enroll],
      'enroll a',
    ],
    ['a check of the served certificate', [checkServed], 'check-served a'],
    ['a rollback', [rollBack], 'roll-back a'],
    ['a lookup', [lookUp], 'look-up-addresses'],
    ['a Node without addresses', [lookUp, [1, addresses(false)]], undefined],
  ];
  for (const [what, steps, overdue] of silences) {
    it(`overdue() ${overdue === undefined ? 'allows' : 'counts'} silence about ${what}`, () => {
      const { requests } = play(steps);
      for (let check = 0; check < 30; check += 1) assert.equal(requests.overdue(30), undefined);
      assert.equal(requests.overdue(30), overdue);
    });
  }

  it('overdue() counts from the latest reply', () => {
    const requests = new PendingRequests();
    const id = requests.open(enroll, () => undefined);
    assert.equal(requests.overdue(1), undefined);
    requests.deliver(id, issued);
    assert.equal(requests.overdue(1), undefined);
    assert.equal(requests.overdue(1), 'enroll a');
  });
});
