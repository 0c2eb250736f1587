import { unionOf } from '../../core/trust-bundle.ts';
import type { TrustFinding, TrustReport } from '../../core/trust-report.ts';
import { addWanted } from './addition.ts';
import { controlPlaneReport, reportOnNode, trustReport } from './annotation.ts';
import { dropUnneeded } from './automatic-drop.ts';
import { clockFinding } from './clock-doubt.ts';
import { controlPlaneAnnotationOf } from './control-plane-annotation.ts';
import { findIssuers } from './issuers.ts';
import { clientUse, makeKubeletUse, observeKubelet } from './kubelet-use.ts';
import type { CurrentLeaf } from './leaves.ts';
import { currentLeaves } from './leaves.ts';
import type { NodeApi } from './node-api.ts';
import { openNodeApi } from './node-api.ts';
import { annotationOf, reportOf } from './report.ts';
import { RunResult } from './run-result.ts';
import type { TrustRequest } from './session.ts';
import { TrustSession } from './session.ts';
import { ambiguityFindings } from './wanted.ts';

export interface SyncOptions {
  /** Restart the kubelet at once if it may not use the CAs of its files. */
  readonly restartNow: boolean;
  /** A person runs the command, so CAs that were rolled back are written again. */
  readonly byHand: boolean;
  /** Ask the API server again for what earlier unattended runs have found. */
  readonly refresh: boolean;
}

/**
 * Adds the CAs of the sources to the places of this node, and makes the kubelet use them. With
 * `trust.drop: auto`, drops CAs that the node no longer needs.
 * @throws AgentError STORE_* if the lock or the state cannot be written; ABORTED
 */
export async function syncTrust(
  request: TrustRequest,
  { restartNow, byHand, refresh }: SyncOptions,
): Promise<TrustReport> {
  await using session = await TrustSession.open(request);
  const result = new RunResult();
  const doubt = await session.clockDoubt();
  if (doubt !== undefined) result.findings.push(clockFinding(doubt));
  // Before the files change, they show what the kubelet has read.
  await observeKubelet(session, {});
  const wanted = await session.readWanted();
  await addWanted({ session, result, wanted, doubt, byHand });
  const mayUseMemory = !byHand && !refresh;
  await using api = await openNodeApi(session, {
    mayUseMemory: mayUseMemory && !result.isChanged && isQuiet(session),
  });
  result.findings.push(...api.findings);
  const { reader, restartAt } = await makeKubeletUse({ session, result, api, restartNow });
  session.countMissing(wanted);
  const circumstances = {
    isSourceRead: wanted.authorities !== undefined,
    reader: reader.state,
    isClockTrusted: doubt === undefined,
  };
  const keptBecause = await dropUnneeded({ session, result, wanted, circumstances });
  const leaves = await currentLeaves(request.config);
  const issuers = await findIssuers(session, { leaves, client: api.client, result, mayUseMemory });
  const known = unionOf(session.trusted, wanted.authorities ?? []);
  const report = reportOf(session, {
    wanted,
    reader,
    restartAt,
    leaves,
    issuers,
    keptBecause,
    findings: [...wanted.findings, ...result.findings, ...ambiguityFindings(known)],
    end: result.end(session.now),
  });
  const unreported = await annotate(session, { api, report, leaves });
  await session.save();
  return { ...report, findings: [...report.findings, ...unreported] };
}

/** While the kubelet is pending, the version of the kubelet matters. */
function isQuiet({ memory: { reader } }: TrustSession): boolean {
  return reader?.changedAt === undefined;
}

/** Reports on the Node what `ca-rollover` needs to know about this machine. */
async function annotate(
  session: TrustSession,
  {
    api,
    report,
    leaves,
  }: {
    readonly api: NodeApi;
    readonly report: TrustReport;
    readonly leaves: readonly CurrentLeaf[];
  },
): Promise<readonly TrustFinding[]> {
  const { client, node } = api;
  if (client === undefined || node === undefined) return [];
  const { config, signal } = session.request;
  const { nodeName } = config;
  const controlPlane = await controlPlaneAnnotationOf(session, api);
  const clientReadAt = await clientUse(session, api, leaves);
  const reports = [
    trustReport(annotationOf(session, report, { leaves, clientReadAt })),
    ...(controlPlane === undefined ? [] : [controlPlaneReport(controlPlane)]),
  ];
  const found: TrustFinding[] = [];
  for (const one of reports) {
    const outcome = await reportOnNode(client, { nodeName, node, report: one, signal });
    found.push(...outcome.findings);
    rememberAnnotation(session, one.key, outcome.written);
  }
  return found;
}

function rememberAnnotation(session: TrustSession, key: string, text: string | undefined): void {
  const { node } = session.memory;
  if (text === undefined || node === undefined) return;
  const annotations = { ...node.annotations, [key]: text };
  session.memory = { ...session.memory, node: { ...node, annotations } };
}
