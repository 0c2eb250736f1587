import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { everyApproverMetric, leaderStatus } from './every-approver-metric.ts';

async function linesOf(status = leaderStatus): Promise<string[]> {
  const text = await everyApproverMetric(status).render();
  return text
    .split('\n')
    .filter((line) => line.startsWith('nodecertd_approver_') && !line.includes('_bucket'))
    .map((line) => line.slice('nodecertd_approver_'.length));
}

describe('ApproverMetrics', () => {
  it('counts decisions, requests and conflicts, and shows the status', async () => {
    assert.deepEqual(await linesOf(), [
      'decisions_total{outcome="approve",reason="ServingPolicyPassed"} 1',
      'decisions_total{outcome="deny",reason="Superseded"} 1',
      'decisions_total{outcome="hold",reason="NodeNotFound"} 1',
      'pending{reason="NodeNotFound"} 2',
      'oldest_pending_seconds 30',
      'decision_seconds_sum 900.02',
      'decision_seconds_count 2',
      'api_requests_total{verb="update",code="200"} 1',
      'queue_depth 3',
      'conflicts_total 1',
      'superseded_total 1',
      'is_leader 1',
      'leader_transitions_total 1',
      'cache_synced{resource="nodes"} 1',
      'policy_info{digest="digest"} 1',
      'policy_last_reload_successful 0',
    ]);
  });

  it('shows no age without a pending CSR', async () => {
    const status = {
      ...leaderStatus,
      pending: new Map<string, number>(),
      oldestPending: undefined,
    };
    const lines = await linesOf(status);
    assert.ok(lines.includes('oldest_pending_seconds 0'));
    assert.ok(!lines.some((line) => line.startsWith('pending{')));
  });
});
