import type { PairFacts } from './certificate.ts';
import type { CsrReference } from './enroller-protocol.ts';
import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import type { DoctorFinding } from './findings.ts';
import type { EndpointState } from './served.ts';

/**
 * What a certificate is doing, in one word. Doubles as a metric label and is what
 * `status` prints, so the words are stable.
 */
export const certificateStates = [
  /** The directory has not been read yet. */
  'starting',
  /** A usable certificate, rotation not yet due. */
  'valid',
  /** A certificate whose time is still to come: by this node's clock at least. */
  'not-yet-valid',
  /** The kubelet rotates it itself: it is only watched. */
  'observing',
  /** The Node has no addresses to put into a serving certificate yet. */
  'waiting-for-addresses',
  /** The client certificate has to be there first. */
  'waiting-for-identity',
  /** A request is being made. */
  'requesting',
  /** The request is on the API server and nobody has approved it yet. */
  'pending-approval',
  /** Approved; the signer has not issued the certificate yet. */
  'pending-issuance',
  /** Something failed and the next try has a time. */
  'backing-off',
] as const;

export type CertificateState = (typeof certificateStates)[number];

/** One certificate as the outside sees it: the source of `status`, /status, /readyz and the gauges. */
export interface CertificateStatus {
  readonly name: string;
  readonly signerName: string;
  readonly state: CertificateState;
  /** When it came into this state. */
  readonly since: Instant;
  /** The `-current.pem` path. */
  readonly path: string;
  /** The pair readers find; absent when there is none. */
  readonly current?: PairFacts;
  /** The rotation deadline of the current pair. */
  readonly rotationDeadline?: Instant;
  /** Unexpired, already valid, and not a self-signed stand-in. */
  readonly usable: boolean;
  /** The deadline has passed by more than the grace and the old pair is still there. */
  readonly overdue: boolean;
  /** The request that stands, if any. */
  readonly csr?: CsrReference;
  /** Consecutive failures since the last success. */
  readonly attempts: number;
  readonly lastFailure?: Failure & { readonly at: Instant };
  readonly nextAttempt?: Instant;
  /** When a person asked for a new pair; until there is one. */
  readonly renewalAt?: Instant;
  /** Pairs stored by this run of the agent. */
  readonly rotations: number;
  readonly lastEvent?: { readonly at: Instant; readonly text: string };
  /** What follows the latest rotation is still under way. */
  readonly following?: true;
  /** What is done after a rotation, in order; absent where nothing is. */
  readonly hooks?: readonly HookStatus[];
  /** What was served when last looked; absent before that, and where nobody looks. */
  readonly served?: { readonly at: Instant; readonly endpoints: readonly EndpointState[] };
}

export interface HookStatus {
  readonly name: string;
  /** When it last did what it should, in this run of the agent. */
  readonly succeededAt?: Instant;
  /** Why its last run failed, until it works again. */
  readonly failure?: Failure & { readonly at: Instant };
}

export interface AgentStatus {
  readonly version: string;
  readonly pid: number;
  readonly nodeName: string;
  /** The host name that keeps the agent from requesting certificates: see AgentConfig. */
  readonly placeholderHostName?: string;
  readonly startedAt: Instant;
  readonly now: Instant;
  readonly certificateDirectory: string;
  readonly certificates: readonly CertificateStatus[];
  /** Why the kubelet cannot use the kubeconfig; absent while it can. */
  readonly kubeconfig?: Failure;
  /** What the examination at the start found not to be as it should; absent until it is over. */
  readonly preflight?: readonly DoctorFinding[];
}
