import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WorkInHand } from '../../src/agent/work-in-hand.ts';
import type { EnrollerCommand, EnrollerReport } from '../../src/core/enrollment.ts';
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
});
