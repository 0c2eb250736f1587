import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
  parseControlPlaneAnnotation,
} from '../../core/control-plane-annotation.ts';
import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import { toFailure } from '../../core/errors.ts';
import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { hour } from '../../core/instant.ts';
import type { TrustAnnotation } from '../../core/trust-annotation.ts';
import {
  formatTrustAnnotation,
  longestTrustAnnotation,
  parseTrustAnnotation,
  trustAnnotationKey,
} from '../../core/trust-annotation.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import { annotateNode } from '../../kube/node-annotation.ts';
import type { OwnNode } from '../../kube/node-annotation.ts';
import type { KubeClient } from '../../kube/rest-client.ts';

/** `ca-rollover` ignores reports of more than 25 hours, and a run may be late by 15 minutes. */
const longestAge = 23 * hour;

/** An annotation by which a node reports something about its CAs. */
export interface NodeReport {
  readonly key: string;
  readonly reportedAt: Instant;
  /** The annotation, as if it had been written at this time. */
  readonly text: (reportedAt: Instant) => string;
  /** The time in an annotation. Undefined if it is malformed. */
  readonly timeIn: (text: string) => Instant | undefined;
}

export function trustReport(report: TrustAnnotation): NodeReport {
  return {
    key: trustAnnotationKey,
    reportedAt: report.reportedAt,
    text: (reportedAt) => formatTrustAnnotation({ ...report, reportedAt }),
    timeIn: (text) => parseTrustAnnotation(text)?.reportedAt,
  };
}

export function controlPlaneReport(report: ControlPlaneAnnotation): NodeReport {
  return {
    key: controlPlaneAnnotationKey,
    reportedAt: report.reportedAt,
    text: (reportedAt) => formatControlPlaneAnnotation({ ...report, reportedAt }),
    timeIn: (text) => parseControlPlaneAnnotation(text)?.reportedAt,
  };
}

export interface AnnotationOutcome {
  readonly findings: readonly TrustFinding[];
  /** The annotation, if it was written. */
  readonly written?: string;
}

/**
 * Writes a report on the Node of this machine, if it has changed or the last one is a day old. A
 * failure is a finding, because the node works without it.
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
    readonly report: NodeReport;
    readonly signal: AbortSignal;
  },
): Promise<AnnotationOutcome> {
  const { key, reportedAt } = report;
  if (isRecent(node.annotations[key] ?? '', report)) return { findings: [] };
  const value = report.text(reportedAt);
  const failure = (reason: Pick<Failure, 'message' | 'remedy'>): AnnotationOutcome => ({
    findings: [annotationFailed(key, nodeName, reason)],
  });
  if (value.length > longestTrustAnnotation) return failure(tooLong);
  try {
    await annotateNode(client, { name: nodeName, key, value }, signal);
    return { findings: [], written: value };
  } catch (error) {
    return failure(toFailure(error));
  }
}

const tooLong = {
  message: `it would have more than ${longestTrustAnnotation} characters, because the files have too many CAs`,
  remedy: 'Remove the CAs that nothing needs: nodecertd trust sync lists them with their files',
};

function annotationFailed(
  key: string,
  nodeName: string,
  { message, remedy }: Pick<Failure, 'message' | 'remedy'>,
): TrustFinding {
  return {
    id: 'annotation_failed',
    message: `cannot write the annotation ${key} on Node ${nodeName}: ${message}`,
    ...(remedy !== undefined && { remedy }),
  };
}

function isRecent(present: string, { reportedAt, text, timeIn }: NodeReport): boolean {
  const writtenAt = timeIn(present);
  if (writtenAt === undefined || text(writtenAt) !== present) return false;
  const age = reportedAt - writtenAt;
  return age >= 0 && age < longestAge;
}
