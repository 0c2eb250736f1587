import type {
  ControlPlaneAnnotation,
  ControlPlaneTrust,
} from '../../core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
} from '../../core/control-plane-annotation.ts';
import { without } from '../../core/without.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../core/trust.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import { annotateNode } from '../../kube/node-annotation.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import { publishedAuthorities } from '../cluster/authorities.ts';
import { readControlPlaneTrust } from '../cluster/control-plane-trust.ts';
import type { GateReason } from '../cluster/gate.ts';
import type { ClusterNode, ClusterState } from '../cluster/state.ts';
import { applyCommand } from './apply-command.ts';
import type { ControlPlaneNode } from './control-plane-nodes.ts';
import { nextPathsInWords } from './next-authority.ts';
import type { CaPlaces } from './node-files.ts';
import { caPath } from './node-files.ts';
import type { StepRequest } from './step-plan.ts';
import type { CaName, ClusterTask } from './task.ts';

/** The CAs of this node. */
export interface KnownAuthorities {
  readonly signing: TrustAuthority;
  /** Absent if this node has no new CA yet. */
  readonly next?: TrustAuthority;
}

/** The new CA that a node reports. */
export function reportedNext(
  report: ControlPlaneTrust | undefined,
  ca: CaName,
): string | undefined {
  switch (ca) {
    case 'kubernetes':
      return report?.next;
    case 'etcd':
      return report?.etcdNext;
    case 'front-proxy':
      return report?.frontProxyNext;
    default:
      return ca satisfies never;
  }
}

/** The number of CAs in the CA file of a node, as the node reports it. */
export function reportedCount(report: ControlPlaneTrust, ca: CaName): number {
  switch (ca) {
    case 'kubernetes':
      return report.authorities.length;
    case 'etcd':
      return report.etcdAuthorities ?? 1;
    case 'front-proxy':
      return report.frontProxyAuthorities ?? 1;
    default:
      return ca satisfies never;
  }
}

/** A rollover of a CA for which there are no gates in `ca-rollover status`. */
export interface FurtherRollover {
  readonly ca: Exclude<CaName, 'kubernetes'>;
  /** The control-plane Nodes that report the new CA. */
  readonly nodes: readonly string[];
}

/** The rollovers of the other CAs. Otherwise a view of the kubernetes CA looks as if none were in progress. */
export function furtherRollovers({ nodes }: Pick<ClusterState, 'nodes'>): FurtherRollover[] {
  const all = nodes.outcome === 'read' ? nodes.value : [];
  return (['etcd', 'front-proxy'] as const).flatMap((ca) => {
    const found = all.filter(
      ({ controlPlane: report }) =>
        typeof report === 'object' &&
        (reportedNext(report, ca) !== undefined || reportedCount(report, ca) > 1),
    );
    return found.length === 0 ? [] : [{ ca, nodes: found.map(({ name }) => name) }];
  });
}

/**
 * The cluster publishes a CA that this node does not know. Two new CAs would need two rollovers, and a
 * step writes only the CAs of its own rollover into the file of --root-ca-file.
 */
export function otherPublished(state: ClusterState, known: KnownAuthorities): GateReason[] {
  const unrelated = unrelatedAuthorities(state, known);
  const published = unknownPublished(state, known).filter(
    (one) => !unrelated.some((other) => isSameAuthority(one, other)),
  );
  return published.map((authority): GateReason => ({
    state: 'waiting',
    message: `the cluster publishes the CA ${authorityName(authority)}, which is neither the CA in ca.crt nor the new CA of this node`,
    remedy:
      'Complete the rollover to that CA first: nodecertd ca-rollover status. If it is part of no rollover, remove it from the file of --root-ca-file of kube-controller-manager, because a step would remove it too',
  }));
}

/**
 * CAs in cluster-info alone, such as that of a load balancer: every step keeps them there. In a
 * rollover, kube-controller-manager publishes the new CA before cluster-info has it.
 */
export function unrelatedAuthorities(
  state: ClusterState,
  known: KnownAuthorities,
): TrustAuthority[] {
  const { extensionAuthentication: clients } = state;
  const used = [
    ...publishedAuthorities({ ...state, clusterInfo: { outcome: 'absent' } }),
    ...(clients.outcome === 'read' ? clients.value.authorities : []),
  ];
  return unknownPublished(state, known).filter(
    (authority) => !used.some((one) => isSameAuthority(one, authority)),
  );
}

function unknownPublished(
  state: ClusterState,
  { signing, next }: KnownAuthorities,
): TrustAuthority[] {
  const known = next === undefined ? [signing] : [signing, next];
  return publishedAuthorities(state).filter(
    (authority) =>
      authority.isSelfSigned && !known.some((other) => isSameAuthority(authority, other)),
  );
}

/** Another node has a different new CA than this node. */
export function otherNewAuthorities(
  others: readonly ControlPlaneNode[],
  { request, next }: { readonly request: CaPlaces; readonly next: TrustAuthority | undefined },
): GateReason[] {
  const own = next && shortFingerprint(next.fingerprint);
  return others.flatMap(({ name, report }): GateReason[] => {
    const other = reportedNext(report, request.ca);
    if (other === undefined || other === own) return [];
    const here = own === undefined ? '' : `, and this node has ${own}`;
    return [
      {
        state: 'waiting',
        message: `the Node ${name} reports the new CA ${other}${here}`,
        remedy: `Copy ${nextPathsInWords(request)} from the node that has this CA, or complete its rollover first. If ${name} no longer has ${caPath(request, 'next')}, run there: nodecertd trust sync`,
      },
    ];
  });
}

interface Reported {
  readonly request: StepRequest;
  /** An earlier task changes files. */
  readonly isChanged: boolean;
}

/**
 * Reports the files of this node on its Node now, so that the same step on another node does not
 * create a second CA. The agent reports them only every ten minutes, and only with trust.enabled.
 */
export async function reportTask(
  own: ControlPlaneNode | undefined,
  { request, isChanged }: Reported,
): Promise<ClusterTask[]> {
  if (own === undefined) return [];
  return [
    {
      kind: 'cluster',
      name: `annotation ${controlPlaneAnnotationKey} of the Node ${own.name}`,
      content: 'the CAs of this node',
      isDone: !isChanged && isReported(own, request.ca, await filesOf(request)),
      isReport: true,
      run: async (signal) => report(own, await filesOf(request), { ...request, signal }),
    },
  ];
}

/**
 * Reports that the issuer of front-proxy-client is unknown, before a step replaces the certificate. After
 * a crash, the other nodes would otherwise trust the previous report.
 */
export function unknownIssuerTask(
  own: ControlPlaneNode | undefined,
  { request, isDone }: { readonly request: StepRequest; readonly isDone: boolean },
): ClusterTask[] {
  if (own === undefined) return [];
  return [
    {
      kind: 'cluster',
      name: `annotation ${controlPlaneAnnotationKey} of the Node ${own.name}`,
      content:
        'the CAs of this node, without the issuer of front-proxy-client until the step has replaced it',
      isDone,
      run: async (signal) => {
        const files = without(await filesOf(request), 'frontProxyClient');
        await report(own, files, { ...request, signal });
      },
    },
  ];
}

/** Without a new CA, a node that has never reported has nothing to correct. */
function isReported(
  { report: reported }: ControlPlaneNode,
  ca: CaName,
  files: ControlPlaneTrust,
): boolean {
  if (reported === undefined) return reportedNext(files, ca) === undefined;
  const [there, here] = [partOf(reported, ca), partOf(files, ca)];
  return there.every((value, at) => value === here[at]);
}

/** What the steps on other nodes need to know of this CA. */
function partOf(trust: ControlPlaneTrust, ca: CaName): readonly (string | number | undefined)[] {
  const client = ca === 'front-proxy' ? trust.frontProxyClient : undefined;
  return [reportedNext(trust, ca), reportedCount(trust, ca), client];
}

async function filesOf({ directories }: StepRequest): Promise<ControlPlaneTrust> {
  const { components } = await findLocalNode(directories);
  return readControlPlaneTrust(components, directories);
}

async function report(
  own: ControlPlaneNode,
  files: ControlPlaneTrust,
  { client, clock, signal }: StepRequest,
): Promise<void> {
  const found: ControlPlaneAnnotation = {
    ...files,
    // Only the agent reads them. An earlier start keeps gates closed for longer.
    startedAt: own.report?.startedAt ?? {},
    reportedAt: clock.now(),
  };
  const value = formatControlPlaneAnnotation(found);
  await annotateNode(client, { name: own.name, key: controlPlaneAnnotationKey, value }, signal);
}

/** Why the new CA may not be removed: something in the cluster trusts it already. */
export function usersOf(next: TrustAuthority, state: ClusterState): GateReason[] {
  const digits = shortFingerprint(next.fingerprint);
  const found = state.nodes.outcome === 'read' ? state.nodes.value : [];
  const nodes = found.filter(({ report: own }) => trusts(own, digits));
  const isPublished = publishedAuthorities(state).some((one) => isSameAuthority(one, next));
  const drop = `Drop the CA on these nodes when the cluster no longer publishes it: nodecertd trust drop ${digits}`;
  return [
    ...(isPublished ? [inUse('the cluster publishes the new CA', 'kubernetes')] : []),
    ...(nodes.length === 0
      ? []
      : [
          {
            state: 'waiting' as const,
            message: 'nodes trust the new CA',
            remedy: drop,
            objects: nodes.map(({ name }) => name),
          },
        ]),
  ];
}

/** Why the new CA may not be removed: other control-plane nodes report that their CA file has two CAs. */
export function bundlesOn(others: readonly ControlPlaneNode[], ca: CaName): GateReason[] {
  const trusting = others.filter(({ report }) => report && reportedCount(report, ca) > 1);
  if (trusting.length === 0) return [];
  const objects = trusting.map(({ name }) => name);
  return [{ ...inUse('other control-plane nodes trust two CAs', ca), objects }];
}

/** A reason against the removal of the new CA. */
export function inUse(message: string, ca: CaName): GateReason {
  const remedy = `Go back on each node where the step trust has begun: ${applyCommand('abort', ca)}; or undo the step there: ${applyCommand('trust', ca)} --undo`;
  return { state: 'waiting', message, remedy };
}

function trusts(report: ClusterNode['report'], digits: string): boolean {
  if (report === undefined || report === 'malformed') return false;
  const { kubeconfig, clientCa } = report.places;
  return kubeconfig.includes(digits) || clientCa.includes(digits);
}
