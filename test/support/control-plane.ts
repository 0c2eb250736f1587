import type { NodeAddress } from '../../src/core/enroller-protocol.ts';

export interface ControlPlaneOptions {
  /** Lifetime of issued certificates in seconds; both signers take any value above zero. */
  readonly signingSeconds: number;
}

/** A certificate signing request, reduced to what scenarios look at. */
export interface ObservedCsr {
  readonly name: string;
  readonly uid: string;
  readonly username: string;
  readonly signerName: string;
  readonly createdAt: string;
  readonly conditions: readonly string[];
  readonly issued: boolean;
  readonly expirationSeconds?: number;
  /** PEM of the PKCS #10 request. */
  readonly request: string;
}

/**
 * What an end-to-end scenario may ask of a control plane. The sandbox and the
 * real kube-apiserver with kube-controller-manager both provide it, so that one
 * suite runs on either. Client CSRs of nodes are approved by the control plane
 * itself; serving CSRs never are.
 */
export interface ControlPlane extends AsyncDisposable {
  readonly kind: 'sandbox' | 'real';
  readonly server: string;
  readonly caPem: string;
  /** A kubeconfig with a bootstrap token that is good for the whole run, as YAML text. */
  bootstrapKubeconfig(): Promise<string>;
  /** A kubeconfig that may do everything, as YAML text. */
  adminKubeconfig(): Promise<string>;
  /** Creates the Node or replaces its status.addresses. */
  setNodeAddresses(nodeName: string, addresses: readonly NodeAddress[]): Promise<void>;
  csrs(): Promise<readonly ObservedCsr[]>;
  approve(csrName: string): Promise<void>;
  deny(csrName: string, reason: string): Promise<void>;
  /** Sets the Failed condition, as a signer does that refuses the request. */
  fail(csrName: string, reason: string): Promise<void>;
  deleteCsr(csrName: string): Promise<void>;
  /** Whether client CSRs of nodes are approved; true at the start. */
  setApproving(approving: boolean): Promise<void>;
  /** Whether the binding is there by which renewals of client certificates are approved; it is at the start. */
  setRenewing(renewing: boolean): Promise<void>;
  /** Takes the API server off its port; connections break. */
  stopApi(): Promise<void>;
  /** Brings it back on the same port with the same state. */
  startApi(): Promise<void>;
  /** Requests so far by user name, from the audit log: `POST certificatesigningrequests`. */
  requests(): Promise<readonly AuditedRequest[]>;
}

export interface AuditedRequest {
  readonly user: string;
  /** As in audit logs: get, list, watch, create, update, patch, delete. */
  readonly verb: string;
  readonly resource: string;
  readonly name: string | undefined;
  readonly code: number;
}
