import type { PairFacts } from './certificate.ts';
import type { CsrReference } from './enroller-protocol.ts';
import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import type { DoctorFinding } from './findings.ts';
import type { EndpointState } from './served.ts';
import type { Reissue } from './trust-reissue.ts';
import type { TrustReport } from './trust-report.ts';
import { trustOutcomes } from './trust-report.ts';
import type { UnattendedRenewal, WithoutLease } from './unattended-renewal.ts';
import { unattendedOutcomes } from './unattended-renewal.ts';

/**
 * The state of a certificate. `status` prints these words and metrics use them as label values,
 * so they must not change.
 */
export const certificateStates = [
  /** The directory has not been read yet. */
  'starting',
  /** The certificate is usable and not due for rotation. */
  'valid',
  /** By this node's clock, the certificate is not valid yet. */
  'not-yet-valid',
  /** The kubelet rotates the certificate; nodecertd only observes it. */
  'observing',
  /** The addresses for a serving certificate are not known yet. */
  'waiting-for-addresses',
  /** The agent needs the client certificate first. */
  'waiting-for-identity',
  /** The agent is about to create a CSR. */
  'requesting',
  /** The CSR is waiting for approval. */
  'pending-approval',
  /** The CSR is approved, but the signer has not issued the certificate yet. */
  'pending-issuance',
  /** The last attempt failed; the next one is scheduled. */
  'backing-off',
] as const;

export type CertificateState = (typeof certificateStates)[number];

/** One certificate, as `status`, /status, /readyz and the gauges show it. */
export interface CertificateStatus {
  readonly name: string;
  readonly signerName: string;
  readonly state: CertificateState;
  /** When the state began. */
  readonly since: Instant;
  /** The `-current.pem` path. */
  readonly path: string;
  /** The pair behind `path`; absent if there is none. */
  readonly current?: PairFacts;
  /** The rotation deadline of the current pair. */
  readonly rotationDeadline?: Instant;
  /** Valid now, and not a temporary self-signed certificate. */
  readonly usable: boolean;
  /** The rotation deadline and the grace period have passed. */
  readonly overdue: boolean;
  /** The pending CSR. */
  readonly csr?: CsrReference;
  /** Consecutive failures since the last success. */
  readonly attempts: number;
  readonly lastFailure?: Failure & { readonly at: Instant };
  readonly nextAttempt?: Instant;
  /** When an administrator requested a new certificate; absent once it is stored. */
  readonly renewalAt?: Instant;
  /** Pairs stored by this run of the agent. */
  readonly rotations: number;
  readonly lastEvent?: { readonly at: Instant; readonly text: string };
  /** The hooks or the check after the latest rotation are still running. */
  readonly following?: true;
  /** The hooks in order; absent if none are configured. */
  readonly hooks?: readonly HookStatus[];
  /** The result of the last check of the served certificate. */
  readonly served?: { readonly at: Instant; readonly endpoints: readonly EndpointState[] };
}

export interface HookStatus {
  readonly name: string;
  /** When it last succeeded in this run of the agent. */
  readonly succeededAt?: Instant;
  /** The failure of the last run; absent once the hook succeeds again. */
  readonly failure?: Failure & { readonly at: Instant };
}

/** The state of the unattended renewal: the outcome of the last check. */
export const pkiStates = ['starting', ...unattendedOutcomes] as const;
export type PkiState = (typeof pkiStates)[number];

/** The unattended renewal of control-plane certificates. */
export interface PkiStatus {
  readonly directory: string;
  readonly state: PkiState;
  /** When the state began, with the same reason. */
  readonly since: Instant;
  /** What the renewal waits for. */
  readonly waitsFor?: string;
  /**
   * Why the last renewal was refused or failed. Stays until a renewal succeeds or nothing is due.
   */
  readonly failure?: Failure & { readonly at: Instant };
  /** Certificates that cannot be renewed, or that an endpoint does not serve after the renewal. */
  readonly problems: UnattendedRenewal['problems'];
  /** The certificate that is due first. */
  readonly nextDue?: { readonly name: string; readonly time: Instant };
  readonly lastSuccess?: Instant;
  /** The last renewal in this run of the agent that did not hold the Lease. */
  readonly lastWithoutLease?: { readonly reason: WithoutLease; readonly at: Instant };
  /** When the agent checks again; absent during a check. */
  readonly nextCheck?: Instant;
  /** The hooks in order; absent if none are configured. */
  readonly hooks?: readonly HookStatus[];
}

/** The state of the node's trust: the outcome of the last `trust sync`. */
export const trustStates = ['starting', ...trustOutcomes] as const;
export type TrustState = (typeof trustStates)[number];

/** The CAs that this node trusts, and the certificates that the agent requests again. */
export interface TrustStatus {
  readonly state: TrustState;
  /** When the state began, with the same reason. */
  readonly since: Instant;
  /** What the last run found; kept while the command fails. */
  readonly report?: TrustReport;
  /** What the last run waits for. */
  readonly waitsFor?: string;
  /** Why the last run was refused or failed. Stays until a run succeeds. */
  readonly failure?: Failure & { readonly at: Instant };
  /** The certificates that were not issued by the CA that their signer uses, by name. */
  readonly reissues: readonly (Reissue & { readonly name: string })[];
  /** When the next run starts; absent during a run. */
  readonly nextCheck?: Instant;
  /** The hooks in order; absent if none are configured. */
  readonly hooks?: readonly HookStatus[];
}

export interface AgentStatus {
  readonly version: string;
  readonly pid: number;
  readonly nodeName: string;
  /** Present if the agent waits for a host name; see AgentConfig. */
  readonly placeholderHostName?: string;
  readonly startedAt: Instant;
  readonly now: Instant;
  readonly certificateDirectory: string;
  readonly certificates: readonly CertificateStatus[];
  /** Present if the kubelet cannot use the kubeconfig. */
  readonly kubeconfig?: Failure;
  /**
   * Present if the last lookup of the Node could not verify the API server. The certificates may
   * still be valid.
   */
  readonly trust?: Failure;
  /** Findings of the preflight checks; absent until they have finished. */
  readonly preflight?: readonly DoctorFinding[];
  /** Present if `pki` is enabled. */
  readonly pki?: PkiStatus;
  /** Present if `trust` is enabled. */
  readonly trustSync?: TrustStatus;
}
