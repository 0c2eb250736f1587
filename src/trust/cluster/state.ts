import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import type { TrustAnnotation } from '../../core/trust-annotation.ts';
import type { TrustAuthority } from '../../core/trust.ts';

/** What a cluster says about a CA rollover, read once with one credential. */
export interface ClusterState {
  readonly readAt: Instant;
  readonly nodes: Reading<readonly ClusterNode[]>;
  /** Names, without the namespaces that are being deleted. */
  readonly namespaces: Reading<readonly string[]>;
  /** The ConfigMap kube-root-ca.crt of each namespace, by the name of the namespace. */
  readonly rootCas: Reading<ReadonlyMap<string, PublishedCas>>;
  /** The ClusterTrustBundles of kubernetes.io/kube-apiserver-serving, by name. */
  readonly trustBundles: Reading<ReadonlyMap<string, PublishedCas>>;
  readonly clusterInfo: Reading<PublishedClusterInfo>;
  /** The clients' CAs in kube-system/extension-apiserver-authentication. */
  readonly extensionAuthentication: Reading<PublishedCas>;
  /** Absent if the caller does not need the pods. */
  readonly pods?: Reading<readonly PodGroup[]>;
  readonly signers: Reading<readonly SignerActivity[]>;
  /** Objects that hold CAs of their own, by kind. */
  readonly holders: Readonly<Record<CaHolderKind, Reading<readonly CaHolder[]>>>;
}

export type Reading<T> =
  | { readonly outcome: 'read'; readonly value: T }
  /** The object does not exist, or the API server does not serve its kind. */
  | { readonly outcome: 'absent' }
  /** The credential may not read it. */
  | { readonly outcome: 'forbidden'; readonly failure: Failure };

export interface ClusterNode {
  readonly name: string;
  /** Internal addresses, then external ones. */
  readonly addresses: readonly string[];
  readonly kubeletPort: number;
  readonly isReady: boolean;
  /** Absent if the Node has no annotation, `malformed` if it cannot be parsed. */
  readonly report?: TrustAnnotation | 'malformed';
  /** The Node has the label of the control plane. */
  readonly isControlPlane: boolean;
  /** The report of a control-plane node, as above. */
  readonly controlPlane?: ControlPlaneAnnotation | 'malformed';
}

/** The CAs in one object. Equal bundles share one array. */
export interface PublishedCas {
  readonly authorities: readonly TrustAuthority[];
  /** Last time that the data changed, from managedFields. */
  readonly changedAt?: Instant;
  /** Why some of the data is not a CA. */
  readonly problem?: string;
}

export interface PublishedClusterInfo extends PublishedCas {
  /**
   * The ids of bootstrap tokens that may sign cluster-info, and whose signature is missing or wrong.
   * Absent if the credential may not read the tokens.
   */
  readonly unsignedTokens?: readonly string[];
}

/** The running pods of one owner that mount kube-root-ca.crt. */
export interface PodGroup {
  readonly namespace: string;
  /** As in `Deployment/web`; `Pod/NAME` for a pod without an owner. */
  readonly owner: string;
  readonly pods: number;
  /** When the oldest of their running containers started. */
  readonly startedAt: Instant;
}

export interface SignerActivity {
  readonly signerName: string;
  readonly newest?: {
    readonly csr: string;
    readonly approvedAt: Instant;
    /** The leaf in DER. */
    readonly leaf: Uint8Array<ArrayBuffer>;
  };
  /** CSRs that are approved and have no certificate, the oldest first. At most 20. */
  readonly unissued: readonly { readonly csr: string; readonly approvedAt: Instant }[];
}

export const caHolderKinds = [
  'ValidatingWebhookConfiguration',
  'MutatingWebhookConfiguration',
  'APIService',
  'CustomResourceDefinition',
  /** Of the type kubernetes.io/service-account-token. */
  'Secret',
] as const;
export type CaHolderKind = (typeof caHolderKinds)[number];

export interface CaHolder {
  /** A Secret with its namespace: `default/robot`. */
  readonly name: string;
  readonly authorities: readonly TrustAuthority[];
}
