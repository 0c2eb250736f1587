import type { Instant } from '../../../core/instant.ts';
import { formatDuration, hour, minute } from '../../../core/instant.ts';

/** Nodes report every day. */
const longestReportAge = 25 * hour;

const longestSkew = 5 * minute;

/** Why the report of a node does not show what the node has now. */
export interface ReportProblem {
  readonly kind: 'missing' | 'malformed' | 'stale' | 'future';
  /** Follows the number of nodes. */
  readonly what: string;
  readonly remedy: string;
}

/**
 * Undefined for a report that can be used.
 * @param key the name of its annotation
 */
export function reportProblem(
  report: { readonly reportedAt: Instant } | 'malformed' | undefined,
  { key, readAt }: { readonly key: string; readonly readAt: Instant },
): ReportProblem | undefined {
  if (report === undefined) {
    return {
      kind: 'missing',
      what: `the Node has no annotation ${key}`,
      remedy: 'Run nodecertd with trust.enabled on these nodes, or ignore them: --except NODE',
    };
  }
  if (report === 'malformed') {
    return {
      kind: 'malformed',
      what: `the annotation ${key} is malformed`,
      remedy: 'Write it again, on the node: nodecertd trust sync',
    };
  }
  const age = readAt - report.reportedAt;
  if (age > longestReportAge) {
    return {
      kind: 'stale',
      what: `the annotation ${key} is older than ${formatDuration(longestReportAge)}`,
      remedy: 'Check the agent on the node: nodecertd trust sync',
    };
  }
  if (age >= -longestSkew) return undefined;
  // Nothing shows when such a report becomes old.
  return {
    kind: 'future',
    what: `the annotation ${key} is from the future`,
    remedy: 'Correct the clock of the node, and then run on it: nodecertd trust sync',
  };
}
