import { toFailure } from '../../core/errors.ts';
import { hour } from '../../core/instant.ts';
import type { TrustAnnotation } from '../../core/trust-annotation.ts';
import {
  formatTrustAnnotation,
  parseTrustAnnotation,
  trustAnnotationKey,
} from '../../core/trust-annotation.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import { annotateNode } from '../../kube/node-annotation.ts';
import type { OwnNode } from '../../kube/node-annotation.ts';
import type { KubeClient } from '../../kube/rest-client.ts';

/** `ca-rollover` ignores reports of more than 25 hours, and a run may be late by 15 minutes. */
const longestAge = 23 * hour;

export interface AnnotationOutcome {
  readonly findings: readonly TrustFinding[];
  /** The annotation, if it was written. */
  readonly written?: string;
}

/**
 * Reports the trust of this node on its Node object, if it has changed or the last report is a day
 * old. A failure is a finding, because the node works without it.
 */
export async function reportOnNode(
  client: KubeClient,
  {
    nodeName,
    node,
    report,
    signal,
  }: {
    readonly nodeName: string;
    /** As it was read in this run. */
    readonly node: OwnNode;
    readonly report: TrustAnnotation;
    readonly signal: AbortSignal;
  },
): Promise<AnnotationOutcome> {
  const present = parseTrustAnnotation(node.annotations[trustAnnotationKey] ?? '');
  if (present !== undefined && isRecent(present, report)) return { findings: [] };
  const value = formatTrustAnnotation(report);
  try {
    await annotateNode(client, { name: nodeName, key: trustAnnotationKey, value }, signal);
    return { findings: [], written: value };
  } catch (error) {
    const { message, remedy } = toFailure(error);
    const finding = {
      id: 'annotation_failed',
      message: `cannot write the annotation ${trustAnnotationKey} on Node ${nodeName}: ${message}`,
      ...(remedy !== undefined && { remedy }),
    };
    return { findings: [finding] };
  }
}

function isRecent(present: TrustAnnotation, report: TrustAnnotation): boolean {
  const { reportedAt } = present;
  const same = formatTrustAnnotation({ ...report, reportedAt }) === formatTrustAnnotation(present);
  const age = report.reportedAt - reportedAt;
  return same && age >= 0 && age < longestAge;
}
