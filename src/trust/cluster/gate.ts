import type { Instant } from '../../core/instant.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import type { ClusterState } from './state.ts';

/** The gates of a CA rollover, in the order in which they open. */
export const gateNames = {
  G1: 'servers',
  G2: 'published',
  G3: 'nodes',
  G4: 'pods',
  G5: 'signer',
  G6: 'serving',
  G7: 'reissued',
  G8: 'droppable',
} as const;

export type GateId = keyof typeof gateNames;

/** What `ca-rollover apply --ca etcd` needs; `ca-rollover status` does not show it. */
export const etcdGateNames = {
  E1: 'members',
  E2: 'trusted',
  E3: 'issued',
  E4: 'clients',
} as const;

export type EtcdGateId = keyof typeof etcdGateNames;

/** The gates of a step of any CA. */
export type StepGateId = GateId | EtcdGateId;
export const stepGateNames: Readonly<Record<StepGateId, string>> = {
  ...gateNames,
  ...etcdGateNames,
};

/** The gates that have to be open before a step. `abort` needs them with the CAs swapped. */
export const gatesBefore = {
  switch: ['G1', 'G2', 'G3', 'G4'],
  finish: ['G5', 'G6', 'G7', 'G8'],
  abort: ['G5', 'G6', 'G7', 'G8'],
} as const satisfies Readonly<Record<string, readonly GateId[]>>;

/** Whether all of these gates are open. */
export function areOpen(gates: readonly Gate[], ids: readonly GateId[]): boolean {
  return ids.every((id) => gates.find((gate) => gate.id === id)?.state === 'open');
}

/**
 * - `open`: the next step is safe
 * - `waiting`: the next step is not safe yet
 * - `harmful`: something fails now, or fails as soon as a connection is cut
 * - `unknown`: the credential may not read something that the gate needs
 */
export type GateState = 'open' | 'waiting' | 'harmful' | 'unknown';

export interface Gate<Id = GateId> {
  readonly id: Id;
  readonly state: GateState;
  /** Why it is not open; the harmful ones first. */
  readonly reasons: readonly GateReason[];
}

export interface GateReason {
  readonly state: Exclude<GateState, 'open'>;
  /** What is wrong, on what, and the value found. */
  readonly message: string;
  readonly remedy?: string;
  /** Names of Nodes, namespaces or other objects; the table shows the first 20. */
  readonly objects?: readonly string[];
}

/** The two CAs of a rollover. */
export interface RolloverAuthorities {
  readonly old: TrustAuthority;
  /** Absent while the cluster has one CA. */
  readonly next?: TrustAuthority;
}

export type RolloverSide = keyof RolloverAuthorities;

/** What every gate is computed from. */
export interface GateInput {
  readonly state: ClusterState;
  readonly authorities: Required<RolloverAuthorities>;
  /** Absent without probes. Then no gate is `harmful` because of what the API servers do. */
  readonly servers?: ServerTrust;
  /** The signing files of kube-controller-manager on the control-plane nodes that are known. */
  readonly signingFiles?: readonly ProbedIssuer[];
  /** Served certificates of kubelets, and certificates of components and administrators. */
  readonly leaves?: readonly ProbedIssuer[];
  readonly kubeletClients?: readonly KubeletClient[];
  /** Why the files of some control-plane nodes are unknown. */
  readonly hiddenControlPlanes?: readonly GateReason[];
  /** What the audit log says about clients. Absent without an audit log. */
  readonly clients?: ClientUse;
  readonly confirmed?: Confirmed;
}

/** The client certificate of an API server for kubelets. */
export interface KubeletClient {
  /** As in `apiserver-kubelet-client.crt on control-plane-2`. */
  readonly place: string;
  readonly changedAt: Instant;
  /** When kube-apiserver started; absent if it is unknown. */
  readonly serverStartedAt?: Instant;
  readonly issuer: ProbedIssuer['issuer'];
}

/** What the API servers do now. */
export interface ServerTrust {
  /** The CAs by which at least one API server presents a certificate. */
  readonly serves: ReadonlySet<RolloverSide>;
  /** An API server presents a certificate that a client with the old CA alone rejects. */
  readonly rejectsOldTrust: boolean;
  /** The CAs whose client certificates at least one API server rejects. */
  readonly rejects: ReadonlySet<RolloverSide>;
}

/** The CA of a certificate that a probe found. */
export interface ProbedIssuer {
  /** As in `port 10250 of node-1`, or a path. */
  readonly place: string;
  readonly issuer: RolloverSide | 'other' | 'unreadable';
}

/** Clients in the audit log that may not have a certificate from the new CA. */
export interface ClientUse {
  /** The first event of the log. */
  readonly from: Instant;
  readonly clients: readonly { readonly user: string; readonly lastSeen: Instant }[];
}

/** What the administrator has confirmed with flags. */
export interface Confirmed {
  /** Nodes that may keep the old CA. */
  readonly exceptNodes?: ReadonlySet<string>;
  /** Pods that started before the bundle was published read it again. */
  readonly pods?: boolean;
  /** The API servers will serve the bridge, so no kubelet has to load the new CA first. */
  readonly bridge?: boolean;
  /** No client outside the cluster has a certificate from the old CA. */
  readonly clients?: boolean;
  /** The time for which no client has used the old CA. */
  readonly quietMs?: number;
  /** The step that is judged removes what `leftovers` names. */
  readonly removesLeftovers?: boolean;
}
