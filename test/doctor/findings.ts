import assert from 'node:assert/strict';
import type { DoctorFinding } from '../../src/core/findings.ts';

/** `error pair-expired`, in the order found. Errors and warnings must have a reason and a remedy. */
export function summaryOf(findings: readonly DoctorFinding[]): string[] {
  for (const { severity, id, what, why, remedy } of findings) {
    assert.ok(what.length > 0 && !what.endsWith('.'), `${id}: ${what}`);
    if (severity !== 'error' && severity !== 'warning') continue;
    assert.ok(why !== undefined && remedy !== undefined, `${id} lacks why or remedy`);
  }
  return findings.map(({ severity, id }) => `${severity} ${id}`);
}

/** Everything the findings say, for tests that match their text. */
export function textOf(findings: readonly DoctorFinding[]): string {
  return findings.map(({ what, why, remedy }) => [what, why, remedy].join('\n')).join('\n');
}
