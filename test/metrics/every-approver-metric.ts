import type { ApproverStatus } from '../../src/core/approver-status.ts';
import { ApproverMetrics } from '../../src/metrics/approver-metrics.ts';

export const leaderStatus: ApproverStatus = {
  isLeader: true,
  leader: 'a',
  synced: { nodes: true },
  pending: new Map([['NodeNotFound', 2]]),
  oldestPending: 60_000,
  queueDepth: 3,
  policyDigest: 'digest',
  unread: new Map(),
  forbidden: undefined,
  eventFailure: undefined,
  leaseFailure: undefined,
  now: 90_000,
};

/** The metrics of an approver with a series for every metric there is. */
export function everyApproverMetric(status = leaderStatus): ApproverMetrics {
  const decisionCodes = ['ServingPolicyPassed', 'Superseded'];
  const metrics = new ApproverMetrics({ status: () => status, decisionCodes });
  countEveryDecision(metrics);
  metrics.recordPolicy('refused');
  return metrics;
}

/** Raises every counter. */
export function countEveryDecision(metrics: ApproverMetrics): void {
  metrics.recordDecision({ outcome: 'approve', reason: 'ServingPolicyPassed', ms: 20 });
  metrics.recordDecision({ outcome: 'deny', reason: 'Superseded', ms: 900_000 });
  metrics.recordDecision({ outcome: 'hold', reason: 'NodeNotFound' });
  metrics.recordApiRequest({ verb: 'update', code: '200', seconds: 0.01 });
  metrics.recordConflict();
  metrics.recordTransition();
}
