import type { ApproverStatus } from '../core/approver-status.ts';
import type { Verdict } from './health.ts';

/** Ready means a leader with complete copies of the cluster, or a standby that can read the Lease. */
export function approverReadiness(status: ApproverStatus): Verdict {
  const { forbidden, leaseFailure, isLeader, leader, synced } = status;
  const failure = leaseFailure ?? forbidden;
  if (failure !== undefined) {
    const { message, remedy = '' } = failure;
    return { healthy: false, text: `${message}\n${remedy && `remedy: ${remedy}\n`}` };
  }
  if (!isLeader) {
    if (leader === undefined) return { healthy: false, text: 'no replica leads\n' };
    return { healthy: true, text: `standby; the leader is ${leader}\n` };
  }
  const missing = Object.entries(synced).flatMap(([resource, done]) => (done ? [] : [resource]));
  if (missing.length === 0) return { healthy: true, text: 'leader\n' };
  return { healthy: false, text: `the leader has not read ${missing.join(', ')}\n` };
}
