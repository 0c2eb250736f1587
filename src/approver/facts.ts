import type { IpBytes } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Instant } from '../core/instant.ts';
import type { AltName } from './alt-name.ts';
import type { NodeSnapshot } from './node-snapshot.ts';

/** Everything outside the CSR that the checks use. The checks only read it. */
export interface Facts {
  readonly nodes: NodeLookup;
  /** The Node as read with a GET for this evaluation; it replaces the one of `nodes`. */
  readonly freshNode?: FreshNode;
  readonly csrs: CsrLookup;
  readonly cluster: ClusterFacts;
  /** Every configured source except the Node itself. */
  readonly sources: readonly Source[];
}

export interface FreshNode {
  /** Undefined after a 404. */
  readonly node: NodeSnapshot | undefined;
}

export interface NodeLookup {
  get(name: string): NodeSnapshot | undefined;
  /** When a Node of this name with another uid was last seen; undefined if none was. */
  earlierSeenAt(name: string): Instant | undefined;
  /** The Nodes that have this name or address, in no particular order. */
  claimants(altNameKey: string): Iterable<NodeSnapshot>;
  /** The Node whose pod range contains the address. */
  podRangeOf(ip: IpBytes): PodRange | undefined;
}

export interface PodRange {
  readonly node: string;
  readonly cidr: Cidr;
}

/** A CSR of a node, reduced to what later CSRs are compared with. */
export interface CsrReference {
  readonly name: string;
  readonly node: string;
  readonly createdAt: Instant;
  readonly resourceVersion: string;
}

export interface CsrLookup {
  /** The newest CSR of the node, pending or decided. */
  newest(node: string): CsrReference | undefined;
  /** The CSRs that contain this key; see keyUseOf. */
  keyUses(keyDigest: string): Iterable<CsrReference>;
}

export interface ClusterFacts {
  /** From the ServiceCIDR objects. */
  readonly serviceCidrs: readonly Cidr[];
  /** `spec.clusterIPs` of the Service default/kubernetes. */
  readonly kubernetesService: readonly IpBytes[];
  /** Addresses in the EndpointSlices default/kubernetes. */
  readonly apiServers: readonly IpBytes[];
  /** The host in the server URL of the kubeconfig, if it is a name and not an address. */
  readonly controlPlaneEndpoint: string | undefined;
}

export interface Source {
  readonly name: 'inventory' | 'machine';
  /** Of the data behind the answers about this Node, such as a digest or a resourceVersion. */
  versionOf(nodeName: string): string;
  /** Whether the source knows these names and addresses as those of the Node. */
  judge(node: NodeSnapshot, altNames: readonly AltName[]): SourceAnswer;
}

export type SourceAnswer =
  | { readonly kind: 'agrees' }
  /** The reason is a clause such as `no Machine has providerID aws:///i-1`. */
  | { readonly kind: 'disagrees'; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string; readonly remedy: string };
