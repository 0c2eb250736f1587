import type { NodeAddress } from '../../src/core/enroller-protocol.ts';

export interface ControlPlaneOptions {
  /** Lifetime of issued certificates in seconds, above zero. */
  readonly signingSeconds: number;
}

/** The fields of a CSR that scenarios check. */
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
 * The control plane of end-to-end scenarios. The sandbox and the real kube-apiserver
 * with kube-controller-manager both implement it, so that one suite runs on either. The
 * control plane approves client CSRs of nodes by itself, and serving CSRs never.
 */
export interface ControlPlane extends AsyncDisposable {
  readonly kind: 'sandbox' | 'real';
  readonly server: string;
  readonly caPem: string;
  /** A kubeconfig with a bootstrap token that is valid for the whole run, as YAML. */
  bootstrapKubeconfig(): Promise<string>;
  /** A kubeconfig of an administrator, as YAML. */
  adminKubeconfig(): Promise<string>;
  /** Creates the Node or replaces its status.addresses. */
  setNodeAddresses(nodeName: string, addresses: readonly NodeAddress[]): Promise<void>;
  csrs(): Promise<readonly ObservedCsr[]>;
  approve(csrName: string): Promise<void>;
  deny(csrName: string, reason: string): Promise<void>;
  /** Sets the Failed condition, as a signer does. */
  fail(csrName: string, reason: string): Promise<void>;
  deleteCsr(csrName: string): Promise<void>;
  /** Turns the approval of client CSRs of nodes on or off. It is on at the start. */
  setApproving(approving: boolean): Promise<void>;
  /**
   * Adds or removes the binding for the approval of renewed client certificates. It
   * exists at the start.
   */
  setRenewing(renewing: boolean): Promise<void>;
  /** Stops the API server. Connections break. */
  stopApi(): Promise<void>;
  /** Starts the API server again, with the same port and state. */
  startApi(): Promise<void>;
  /** The requests so far, from the audit log. */
  requests(): Promise<readonly AuditedRequest[]>;
}

export interface AuditedRequest {
  readonly user: string;
  /** The verb of the audit log: get, list, watch, create, update, patch, delete. */
  readonly verb: string;
  readonly resource: string;
  readonly name: string | undefined;
  readonly code: number;
}
