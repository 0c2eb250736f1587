import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WorkInHand } from '../../src/keeper/work-in-hand.ts';
import type { EnrollerCommand, EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { clientTemplate, pairFor } from '../core/fixtures.ts';

const inspect = { type: 'inspect', name: 'a' } as const;
const selfSign = { type: 'self-sign', name: 'a' } as const;
const lookUp = { type: 'look-up-addresses', follow: true } as const;
const enroll = (attempt: number): EnrollerCommand => ({
  type: 'enroll',
  name: 'a',
  attempt,
  template: clientTemplate,
});
const inspected = { type: 'inspected', name: 'a', findings: [] } as const;
const checkServed = { type: 'check-served', name: 'a', serial: '1', withinMs: 0 } as const;
const served = { type: 'served', name: 'a', serial: '1', outcome: { kind: 'overtaken' } } as const;
const rollBack = { type: 'roll-back', name: 'a', serial: '1' } as const;
const rolledBack = { ...served, type: 'rolled-back' } as const;
const failure = { code: 'API_UNREACHABLE', message: 'away' } as const;
const stored = (attempt: number): EnrollerReport => ({
  type: 'stored',
  name: 'a',
  attempt,
  pair: pairFor(clientTemplate),
  findings: [],
});
const failed = (attempt: number, resumable: boolean): EnrollerReport => ({
  type: 'failed',
  name: 'a',
  attempt,
  failure,
  resumable,
});

/** Commands and reports in the order in which the keeper sees them, and whether anything is left. */
const rows: readonly (readonly [string, readonly (EnrollerCommand | EnrollerReport)[], boolean])[] =
  [
    ['nothing', [], true],
    ['a look', [inspect], false],
    ['a look that was answered', [inspect, inspected], true],
    ['two looks with one answer', [inspect, selfSign, inspected], false],
    ['two looks with two answers', [inspect, selfSign, inspected, inspected], true],
    ['a look that failed', [inspect, { type: 'inspection-failed', name: 'a', failure }], true],
    ['a look at another pair', [inspect, { ...inspected, name: 'b' }], false],
    ['a request', [enroll(1)], false],
    ['a stored pair', [enroll(1), stored(1)], true],
    ['a failure for good', [enroll(1), failed(1, false)], true],
    ['a failure that leaves a key', [enroll(1), failed(1, true)], false],
    [
      'a key that was forgotten',
      [enroll(1), failed(1, true), { type: 'abandon', name: 'a' }],
      true,
    ],
    ['a stored pair that crossed the next request', [enroll(1), enroll(2), stored(1)], false],
    ['a failure that crossed the next request', [enroll(1), enroll(2), failed(1, false)], false],
    ['both of two requests', [enroll(1), enroll(2), failed(1, false), stored(2)], true],
    ['a look at what is served', [checkServed], false],
    ['a look at what is served that was answered', [checkServed, served], true],
    [
      'a look at what is served, and an answer of another',
      [checkServed, { ...served, name: 'b' }],
      false,
    ],
    ['a way back', [rollBack], false],
    ['a way back that was answered', [rollBack, rolledBack], true],
    ['a look-up', [lookUp], false],
    ['a look-up that goes on', [lookUp, { type: 'addresses', addresses: [], final: false }], false],
    ['a look-up that is over', [lookUp, { type: 'addresses', addresses: [], final: true }], true],
    ['a look-up that failed', [lookUp, { type: 'addresses-failed', failure }], true],
  ];

const commands = new Set<string>([
  'inspect',
  'self-sign',
  'enroll',
  'abandon',
  'look-up-addresses',
  'check-served',
  'roll-back',
]);

describe('WorkInHand', () => {
  for (const [what, happens, isEmpty] of rows) {
    it(`is ${isEmpty ? '' : 'not '}empty after ${what}`, () => {
      const work = new WorkInHand();
      for (const one of happens) {
        if (commands.has(one.type)) work.begin(one as EnrollerCommand);
        else work.answered(one as EnrollerReport);
      }
      assert.equal(work.isEmpty, isEmpty);
      work.clear();
      assert.equal(work.isEmpty, true);
    });
  }

  const csr = { name: 'csr-1', uid: 'u', createdAt: 0 };
  const requested = { type: 'requested', name: 'a', attempt: 1, csr } as const;
  const issued = { type: 'issued', name: 'a', attempt: 1, csr } as const;
  const addresses = { type: 'addresses', addresses: [], final: false } as const;
  const silences: readonly (readonly [
    string,
    readonly (EnrollerCommand | EnrollerReport)[],
    string | undefined,
  ])[] = [
    ['nothing', [], undefined],
    ['a look', [inspect], 'look a'],
    ['the second of two looks', [inspect, inspect, inspected], 'look a'],
    ['a request', [enroll(1)], 'enrollment a'],
    ['a request that stands', [enroll(1), requested], undefined],
    [
      'the wait for a decision that is disturbed',
      [enroll(1), requested, { type: 'trouble', name: 'a', attempt: 1, failure }],
      undefined,
    ],
    ['an issued certificate', [enroll(1), requested, issued], 'enrollment a'],
    ['a key that is held', [enroll(1), failed(1, true)], undefined],
    ['a request made again', [enroll(1), failed(1, true), enroll(2)], 'enrollment a'],
    [
      'a standing request taken up again',
      [enroll(1), requested, failed(1, true), enroll(2)],
      undefined,
    ],
    [
      'an issued certificate stored again',
      [enroll(1), requested, issued, failed(1, true), enroll(2)],
      'enrollment a',
    ],
    ['a look at what is served', [checkServed], 'check a'],
    ['a way back', [rollBack], 'way back a'],
    ['a look-up', [lookUp], 'look-up of addresses'],
    ['a Node that has no addresses yet', [lookUp, addresses], undefined],
  ];
  for (const [what, happens, owed] of silences) {
    it(`${owed === undefined ? 'lets the enroller be silent' : 'wants an answer'} about ${what}`, () => {
      const work = new WorkInHand();
      for (const one of happens) {
        if (commands.has(one.type)) work.begin(one as EnrollerCommand);
        else work.answered(one as EnrollerReport);
      }
      for (let look = 0; look < 30; look += 1) assert.equal(work.overdue(30), undefined);
      assert.equal(work.overdue(30), owed);
    });
  }

  it('counts the silence anew from each answer', () => {
    const work = new WorkInHand();
    work.begin(enroll(1));
    assert.equal(work.overdue(1), undefined);
    work.answered(issued);
    assert.equal(work.overdue(1), undefined);
    assert.equal(work.overdue(1), 'enrollment a');
  });
});
