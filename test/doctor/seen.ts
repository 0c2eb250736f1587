import assert from 'node:assert/strict';
import type { PreflightFinding } from '../../src/core/findings.ts';

/** `error pair-expired`, in the order found. Everything but ok has to say why, and what to do. */
export function seen(findings: readonly PreflightFinding[]): string[] {
  for (const { severity, id, what, why, remedy } of findings) {
    assert.ok(what.length > 0 && !what.endsWith('.'), `${id}: ${what}`);
    if (severity !== 'error' && severity !== 'warning') continue;
    assert.ok(why !== undefined && remedy !== undefined, `${id} lacks why or remedy`);
  }
  return findings.map(({ severity, id }) => `${severity} ${id}`);
}

/** What is found, once more in full, for whoever matches texts. */
export function text(findings: readonly PreflightFinding[]): string {
  return findings.map(({ what, why, remedy }) => [what, why, remedy].join('\n')).join('\n');
}
