import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ApproverStatus } from '../../src/core/approver-status.ts';
import { approverReadiness } from '../../src/metrics/approver-health.ts';

function status(parts: Partial<ApproverStatus>): ApproverStatus {
  return {
    isLeader: true,
    leader: 'a',
    synced: { nodes: true },
    pending: new Map(),
    oldestPending: undefined,
    queueDepth: 0,
    policyDigest: 'd',
    unread: new Map(),
    forbidden: undefined,
    eventFailure: undefined,
    leaseFailure: undefined,
    now: 0,
    ...parts,
  };
}

const failure = { code: 'API_FORBIDDEN', message: 'cannot list nodes', remedy: 'Bind it' } as const;

describe('approverReadiness()', () => {
  const cases: readonly [string, Partial<ApproverStatus>, boolean, RegExp][] = [
    ['a leader with complete copies', {}, true, /^leader\n$/],
    [
      'a leader without a copy',
      { synced: { nodes: false } },
      false,
      /^the leader has not read nodes\n$/,
    ],
    [
      'a copy that cannot be read, and another one',
      { synced: { nodes: false, machines: false }, unread: new Map([['nodes', failure]]) },
      false,
      /^the leader has not read machines\nthe leader has not read nodes: cannot list nodes\nremedy: Bind it\n$/,
    ],
    [
      'a failure of a copy that is complete again',
      { unread: new Map([['nodes', failure]]) },
      true,
      /^leader\n$/,
    ],
    [
      'Events that cannot be created',
      { eventFailure: failure },
      true,
      /^leader\nthe last Event failed: cannot list nodes\nremedy: Bind it\n$/,
    ],
    ['a standby', { isLeader: false }, true, /^standby; the leader is a\n$/],
    ['no leader', { isLeader: false, leader: undefined }, false, /no replica leads/],
    ['a missing permission', { forbidden: failure }, false, /cannot list nodes\nremedy: Bind it\n/],
    ['a Lease that cannot be read', { leaseFailure: failure }, false, /cannot list nodes/],
  ];
  for (const [what, parts, healthy, text] of cases) {
    it(`is ${healthy} with ${what}`, () => {
      const verdict = approverReadiness(status(parts));
      assert.equal(verdict.healthy, healthy);
      assert.match(verdict.text, text);
    });
  }
});
