import { shortFingerprint } from '../../../core/trust.ts';
import type { Instant } from '../../../core/instant.ts';
import type { TrustAnnotation } from '../../../core/trust-annotation.ts';
import { trustAnnotationKey } from '../../../core/trust-annotation.ts';
import type { Gate, GateInput, GateReason, RolloverSide } from '../gate.ts';
import type { ClusterNode } from '../state.ts';
import { reportProblem } from './report-problem.ts';
import { counted, gateOf, judged, missingSides, restoreServing, sideNames } from './verdict.ts';

/** G3: every node trusts both CAs, and its kubelet uses them. */
export function judgeNodes(input: GateInput): Gate {
  return gateOf(
    'G3',
    judged(input.state.nodes, 'Nodes', (nodes) =>
      reasonsOfNodes(nodes, input, (report) => behindInTrust(report, input)),
    ),
  );
}

/** Why one node keeps the gate closed. Nodes with equal causes become one reason. */
export interface NodeCause {
  readonly state: GateReason['state'];
  /** Follows the number of nodes: `trust.kubeconfig lacks the new CA`. */
  readonly what: string;
  readonly remedy?: string;
}

/**
 * The causes of all nodes but the excepted ones. A report that is missing or old hides what the node
 * has, and no report can change while a node is offline.
 */
export function reasonsOfNodes(
  nodes: readonly ClusterNode[],
  { state: { readAt }, confirmed }: GateInput,
  causesOf: (report: TrustAnnotation) => readonly NodeCause[],
): GateReason[] {
  const groups = new Map<string, { readonly cause: NodeCause; readonly objects: string[] }>();
  for (const node of nodes) {
    if (confirmed?.exceptNodes?.has(node.name) === true) continue;
    for (const cause of causesOfNode(node, readAt, causesOf)) {
      const key = `${cause.state} ${cause.what}`;
      const group = groups.get(key) ?? { cause, objects: [] };
      group.objects.push(node.name);
      groups.set(key, group);
    }
  }
  return [...groups.values()].map(({ cause: { state, what, remedy }, objects }) => ({
    state,
    message: `${counted(objects.length, 'node')} of ${nodes.length}: ${what}`,
    ...(remedy !== undefined && { remedy }),
    objects,
  }));
}

function causesOfNode(
  { report, isReady }: ClusterNode,
  readAt: Instant,
  causesOf: (report: TrustAnnotation) => readonly NodeCause[],
): readonly NodeCause[] {
  const causes = causesOfReport(report, readAt, causesOf);
  if (causes.length === 0 || isReady) return causes;
  const worst = causes.find(({ state }) => state === 'harmful') ?? causes[0];
  return worst === undefined ? [] : [offline(worst)];
}

function causesOfReport(
  report: ClusterNode['report'],
  readAt: Instant,
  causesOf: (report: TrustAnnotation) => readonly NodeCause[],
): readonly NodeCause[] {
  const problem = reportProblem(report, { key: trustAnnotationKey, readAt });
  const causes = typeof report === 'object' ? causesOf(report) : [];
  if (problem === undefined) return causes;
  const { kind, what, remedy } = problem;
  // What an old report has may have changed since, unless a connection fails with it.
  const known = kind === 'stale' ? causes.filter(isHarmful) : causes;
  return [{ state: 'waiting', what, remedy }, ...known];
}

function isHarmful({ state }: NodeCause): boolean {
  return state === 'harmful';
}

function offline(cause: NodeCause): NodeCause {
  const what = `not Ready, and ${cause.what}`;
  if (isHarmful(cause)) {
    const ifOff = 'If these nodes are off, ignore them: --except NODE';
    return { ...cause, what, remedy: [ifOff, cause.remedy].join('. Otherwise: ') };
  }
  return {
    state: cause.state,
    what,
    remedy: 'Start these nodes, delete their Nodes, or ignore them: --except NODE',
  };
}

function behindInTrust(report: TrustAnnotation, input: GateInput): NodeCause[] {
  const missing = [...behindInKubeconfig(report, input), ...behindInClientCa(report, input)];
  const isPending = report.readers === 'pending' && input.confirmed?.bridge !== true;
  return missing.length === 0 && isPending ? [pendingReader] : missing;
}

/** The kubelet verifies the API servers with these CAs. */
function behindInKubeconfig({ places }: TrustAnnotation, input: GateInput): NodeCause[] {
  const has = (side: RolloverSide): boolean => includes(places.kubeconfig, side, input);
  return missingSides(has, input.servers).map(({ side, state }) => ({
    state,
    what: `the kubeconfig of the kubelet lacks ${sideNames[side]}`,
    remedy:
      state === 'harmful' && side === 'next'
        ? `${restoreServing}; then, on the node: nodecertd trust sync`
        : notWritten,
  }));
}

/** The kubelet verifies the client certificates of the API servers with these CAs. */
function behindInClientCa({ places }: TrustAnnotation, input: GateInput): NodeCause[] {
  const has = (side: RolloverSide): boolean => includes(places.clientCa, side, input);
  const isUsed = (side: RolloverSide): boolean =>
    input.kubeletClients?.some(({ issuer }) => issuer === side) === true;
  const isNeeded = (side: RolloverSide): boolean =>
    isUsed(side) || missingSides(has, input.servers).some((missing) => missing.side === side);
  const missing = (['next', 'old'] as const).filter((side) => !has(side) && isNeeded(side));
  return missing.map((side) => {
    const what = `clientCAFile lacks ${sideNames[side]}`;
    if (!isUsed(side)) return { state: 'waiting', what, remedy: notWritten };
    return {
      state: 'harmful',
      what: `${what}, which issued the client certificate of kube-apiserver for kubelets`,
      remedy:
        'Restore the previous certificate and key of kube-apiserver --kubelet-client-certificate; then, on the node: nodecertd trust sync',
    };
  });
}

function includes(
  held: readonly string[],
  side: RolloverSide,
  { authorities }: GateInput,
): boolean {
  return held.includes(shortFingerprint(authorities[side].fingerprint));
}

const notWritten = 'Find out why the agent did not write it, on the node: nodecertd trust sync';

const pendingReader: NodeCause = {
  state: 'waiting',
  what: 'the kubelet has not loaded the CAs of its files',
  remedy:
    'Restart the kubelet on these nodes, or pass --bridge if the API servers will send the bridge',
};
