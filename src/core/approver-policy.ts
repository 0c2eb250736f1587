import type { Cidr } from './cidr.ts';
import { minute } from './instant.ts';

/**
 * enforce: approve and deny. approve-only: a denial becomes a hold. observe: decide as enforce
 * does, and change nothing.
 */
export const approverModes = ['enforce', 'approve-only', 'observe'] as const;
export type ApproverMode = (typeof approverModes)[number];

/** The policy of the approver, with every default filled in. */
export interface ApproverPolicy {
  readonly mode: ApproverMode;
  /** How long a CSR that does not match its Node is held, in ms since its creation. */
  readonly mismatchGrace: number;
  /** If undefined, every address is allowed. */
  readonly allowedCidrs: readonly Cidr[] | undefined;
  readonly deniedCidrs: readonly Cidr[];
  /** If undefined, every name is allowed. Lower case, without a trailing dot. */
  readonly allowedDomains: readonly string[] | undefined;
  /** Names that no Node may have. Lower case, without a trailing dot. */
  readonly protectedNames: readonly string[];
  /** In addition to the ServiceCIDR objects of the cluster. */
  readonly serviceCidrs: readonly Cidr[];
  /** Replaces `spec.podCIDRs` of the Nodes, which a node can set itself while it is empty. */
  readonly podCidrs: readonly Cidr[] | undefined;
  /** subset: the Node has every SAN. exact: the SANs are also all addresses of the Node. */
  readonly match: 'subset' | 'exact';
  readonly maxExpirationSeconds: number;
  /** The outcome for a CSR whose requestor is not a node. */
  readonly foreignRequestors: 'ignore' | 'deny';
  readonly allowLinkLocal: boolean;
  /** 0 is no limit. */
  readonly maxDecisionsPerSecond: number;
  readonly sources: ApproverSources;
}

/** Sources that must agree, besides the Node object. */
export interface ApproverSources {
  readonly inventory?: { readonly file: string };
  /** Machines of cluster.x-k8s.io; the kubeconfig names a separate management cluster. */
  readonly machine?: { readonly kubeconfig?: string };
}

/** Without a policy file: safe on any cluster whose nodes report their addresses. */
export const defaultApproverPolicy: ApproverPolicy = {
  mode: 'enforce',
  mismatchGrace: minute,
  allowedCidrs: undefined,
  deniedCidrs: [],
  allowedDomains: undefined,
  protectedNames: [],
  serviceCidrs: [],
  podCidrs: undefined,
  match: 'subset',
  maxExpirationSeconds: 31_708_800,
  foreignRequestors: 'ignore',
  allowLinkLocal: false,
  maxDecisionsPerSecond: 100,
  sources: {},
};

/** A CSR this much older than its Node belongs to an earlier Node of the same name. */
export const longestBeforeNode = 15 * minute;
/** A superseded CSR is denied at this age. */
export const supersededGrace = 15 * minute;
