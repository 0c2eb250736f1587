import type { ApproverStatus } from '../core/approver-status.ts';
import type { Failure } from '../core/errors.ts';
import type { Verdict } from './health.ts';

/** Ready means a leader with complete copies of the cluster, or a standby that can read the Lease. */
export function approverReadiness(status: ApproverStatus): Verdict {
  const { isLeader, leader, eventFailure } = status;
  const problems = problemsOf(status);
  if (problems.length > 0) return { healthy: false, text: problems.join('') };
  if (!isLeader) return { healthy: true, text: `standby; the leader is ${leader ?? ''}\n` };
  const events =
    eventFailure === undefined ? '' : `the last Event failed: ${failureText(eventFailure)}`;
  return { healthy: true, text: `leader\n${events}` };
}

function problemsOf(status: ApproverStatus): string[] {
  const { forbidden, leaseFailure, isLeader, leader, synced, unread } = status;
  const failures = [leaseFailure, forbidden].filter((failure) => failure !== undefined);
  const problems = failures.map((failure) => failureText(failure));
  if (!isLeader && leader === undefined && leaseFailure === undefined) {
    problems.push('no replica leads\n');
  }
  if (!isLeader) return problems;
  const missing = Object.entries(synced).flatMap(([resource, done]) => (done ? [] : [resource]));
  const unexplained = missing.filter((resource) => !unread.has(resource));
  if (unexplained.length > 0) {
    problems.push(`the leader has not read ${unexplained.join(', ')}\n`);
  }
  for (const resource of missing) {
    const failure = unread.get(resource);
    if (failure !== undefined) {
      problems.push(`the leader has not read ${resource}: ${failureText(failure)}`);
    }
  }
  return problems;
}

function failureText({ message, remedy }: Failure): string {
  return `${message}\n${remedy === undefined ? '' : `remedy: ${remedy}\n`}`;
}
