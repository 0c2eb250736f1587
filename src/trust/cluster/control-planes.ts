import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import { controlPlaneAnnotationKey } from '../../core/control-plane-annotation.ts';
import type { GateReason, KubeletClient, ProbedIssuer, RolloverAuthorities } from './gate.ts';
import type { ReportProblem } from './gates/report-problem.ts';
import { reportProblem } from './gates/report-problem.ts';
import { counted } from './gates/verdict.ts';
import { sideOf } from './issued-by.ts';
import type { LocalLeaf } from './local-control-plane.ts';
import type { TrustFile } from './local-trust.ts';
import type { ProbedServer } from './probes.ts';
import type { ClusterState } from './state.ts';

/** What the control-plane nodes other than this one report about their files. */
export interface ControlPlanes {
  readonly reported: readonly ReportedControlPlane[];
  /** The nodes without a report that can be used, and why. */
  readonly hidden: readonly GateReason[];
}

export interface ReportedControlPlane {
  readonly node: string;
  readonly report: ControlPlaneAnnotation;
}

export interface ControlPlaneQuestion {
  readonly state: Pick<ClusterState, 'nodes' | 'readAt'>;
  readonly servers: readonly Pick<ProbedServer, 'host'>[];
  /** The addresses of this machine, if its files are read directly. */
  readonly own: ReadonlySet<string>;
  /** Nodes that the administrator has checked. */
  readonly exceptNodes: ReadonlySet<string>;
}

/** A Node without the label is one too if an API server has its address. */
export function otherControlPlanes({
  state: { nodes, readAt },
  servers,
  own,
  exceptNodes,
}: ControlPlaneQuestion): ControlPlanes {
  const all = nodes.outcome === 'read' ? nodes.value : [];
  const hosts = new Set(servers.map(({ host }) => host));
  const others = all.filter(
    ({ name, isControlPlane, addresses }) =>
      (isControlPlane || addresses.some((address) => hosts.has(address))) &&
      !addresses.some((address) => own.has(address)) &&
      !exceptNodes.has(name),
  );
  const hidden = others.flatMap(({ name, controlPlane }): HiddenNode[] => {
    const problem = reportProblem(controlPlane, { key: controlPlaneAnnotationKey, readAt });
    if (problem === undefined) return [];
    const { kind, what, remedy } = problem;
    return [{ name, what, remedy: kind === 'missing' ? withoutAgent : remedy }];
  });
  const isHidden = (name: string): boolean => hidden.some((one) => one.name === name);
  return {
    reported: others.flatMap(({ name, controlPlane: report }) =>
      typeof report === 'object' && !isHidden(name) ? [{ node: name, report }] : [],
    ),
    hidden: hiddenReasons(hidden, others.length),
  };
}

interface HiddenNode extends Pick<ReportProblem, 'what' | 'remedy'> {
  readonly name: string;
}

/** Nodes with the same problem share one reason. */
function hiddenReasons(hidden: readonly HiddenNode[], count: number): GateReason[] {
  const groups = Map.groupBy(hidden, ({ what }) => what);
  return [...groups].map(([what, nodes]) => ({
    state: 'unknown',
    message: `${nodes.length} of ${counted(count, 'other control-plane node')}: ${what}`,
    ...(nodes[0] && { remedy: nodes[0].remedy }),
    objects: nodes.map(({ name }) => name),
  }));
}

/** A control plane whose nodes have no agent is checked node by node. */
const withoutAgent =
  'Set trust.enabled on these nodes and run on each: nodecertd trust sync; or run nodecertd ca-rollover status on each, and ignore them here: --except NODE';

/** The signing file of kube-controller-manager. */
export function signingFilesOf(
  { reported }: ControlPlanes,
  authorities: RolloverAuthorities,
): ProbedIssuer[] {
  return reported.flatMap(({ node, report: { signer } }) => {
    if (signer === undefined) return [];
    const place = `the file of kube-controller-manager --cluster-signing-cert-file on ${node}`;
    return [{ place, issuer: signer === '' ? 'unreadable' : sideOf(signer, authorities) }];
  });
}

/** The certificates of components and administrators, with the first digits of their hashes. */
export function leavesOf(
  { reported }: ControlPlanes,
  authorities: RolloverAuthorities,
): LocalLeaf[] {
  return reported.flatMap(({ node, report: { leaves } }) =>
    Object.entries(leaves).map(([name, leaf]): LocalLeaf => {
      const place = `${fileNamed(name)} on ${node}`;
      const { fingerprint } = leaf;
      if (fingerprint === '') return { place, issuer: 'unreadable' };
      return { place, issuer: sideOf(leaf.issuer, authorities), fingerprint };
    }),
  );
}

function fileNamed(certificate: string): string {
  return certificate.endsWith('.conf') ? certificate : `${certificate}.crt`;
}

/** The client certificate of each kube-apiserver for kubelets. */
export function kubeletClientsOf(
  { reported }: ControlPlanes,
  authorities: RolloverAuthorities,
): KubeletClient[] {
  return reported.flatMap(({ node, report }) => {
    const { kubeletClientChangedAt: changedAt, leaves, startedAt } = report;
    if (changedAt === undefined) return [];
    const serverStartedAt = startedAt['kube-apiserver'];
    return [
      {
        place: `apiserver-kubelet-client.crt on ${node}`,
        changedAt,
        ...(serverStartedAt !== undefined && { serverStartedAt }),
        issuer: sideOf(leaves['apiserver-kubelet-client']?.issuer ?? '', authorities),
      },
    ];
  });
}

/** The file of each kube-apiserver with the CAs of kubelets. */
export function kubeletAuthoritiesOf(
  { reported }: ControlPlanes,
  authorities: RolloverAuthorities,
): TrustFile[] {
  return reported.flatMap(({ node, report: { kubeletAuthority } }) => {
    if (kubeletAuthority === undefined) return [];
    const { authorities: held, changedAt } = kubeletAuthority;
    return [
      {
        flag: 'kube-apiserver --kubelet-certificate-authority',
        path: `the file on ${node}`,
        has: (['old', 'next'] as const).filter((side) =>
          held.some((ca) => sideOf(ca, authorities) === side),
        ),
        ...(changedAt !== undefined && { changedAt }),
      },
    ];
  });
}
