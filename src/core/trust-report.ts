import type { CaPin } from './ca-pin.ts';
import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import type {
  TrustPlaceKind,
  TrustReaderState,
  TrustRefusal,
  TrustSourceKind,
  TrustStage,
} from './trust.ts';

/**
 * - `in-sync`: every kept place has the wanted CAs, and no restart is due
 * - `changed`: this run wrote files or restarted the kubelet
 * - `waiting`: for a source, a file that cannot be written, the API server, or a restart
 * - `refused`: a source has CAs that fail a check
 * - `failed`: an error; the files are as before
 */
export const trustOutcomes = ['in-sync', 'changed', 'waiting', 'refused', 'failed'] as const;
export type TrustOutcome = (typeof trustOutcomes)[number];

/** What one run of `nodecertd trust sync` found and did. Contains no PEM data. */
export interface TrustReport {
  readonly outcome: TrustOutcome;
  readonly stage: TrustStage;
  /** Every CA that a place or a source has, in the order of the bundle. */
  readonly authorities: readonly ReportedAuthority[];
  readonly places: readonly ReportedPlace[];
  /** The first one that was read decides which CAs are wanted. */
  readonly sources: readonly ReportedSource[];
  readonly leaves: readonly ReportedLeaf[];
  /** The fingerprint of the CA that the signer uses. Absent if it is unknown. */
  readonly issuer?: string;
  readonly reader: ReportedReader;
  readonly findings: readonly TrustFinding[];
  readonly refusal?: RefusedTrust;
  /** Why the outcome is `waiting` or `failed`. */
  readonly failure?: Failure;
  /** Last time that a run changed a file. */
  readonly changedAt?: Instant;
  /** Set if another run is due before the usual interval. */
  readonly retryAfterSeconds?: number;
}

/** CAs that this node does not add to its trust. */
export interface RefusedTrust extends Failure {
  readonly code: 'TRUST_REFUSED';
  readonly reason: TrustRefusal;
}

export interface ReportedAuthority {
  readonly fingerprint: string;
  readonly pin: CaPin;
  readonly subject: string;
  readonly notAfter: Instant;
  /** Whether all kept places have it. */
  readonly isHeld: boolean;
  /** Whether the source has it. */
  readonly isWanted: boolean;
  /** The source has lacked it since then, without a break. */
  readonly missingSince?: Instant;
  /** Why a CA that the source lacks cannot be dropped now. Empty if it can. */
  readonly keptBecause?: readonly string[];
}

export interface ReportedPlace {
  readonly kind: TrustPlaceKind;
  /** The kubeconfig or the PEM file. */
  readonly path: string;
  /** The CA file that a kubeconfig names. Absent if it embeds the CAs. */
  readonly file?: string;
  /** False for a place that nodecertd only reports. */
  readonly isKept: boolean;
  /** Fingerprints. */
  readonly authorities: readonly string[];
  readonly problem?: string;
}

export interface ReportedSource {
  readonly kind: TrustSourceKind;
  /** A path, or the name of the object. */
  readonly name: string;
  readonly outcome: 'read' | 'absent' | 'failed';
  /** Fingerprints. */
  readonly authorities: readonly string[];
  readonly reason?: string;
}

/** A certificate that this agent rotates. */
export interface ReportedLeaf {
  readonly name: string;
  readonly path: string;
  /** The fingerprint of the CA whose key verifies it. Absent if no known CA does. */
  readonly issuer?: string;
  /** Whether the signer uses another CA now. */
  readonly isBehind: boolean;
}

export interface ReportedReader {
  readonly state: TrustReaderState;
  /** The time from which the kubelet may not have used the CAs of its files. */
  readonly since?: Instant;
  /** The fingerprints of the CAs that the kubelet may not have loaded. Absent unless the state is `pending`. */
  readonly unread?: readonly string[];
  /** When nodecertd restarts the kubelet. Absent if it does not. */
  readonly restartAt?: Instant;
}

export interface TrustFinding {
  /** Stable, such as `ca_ambiguous`. */
  readonly id: string;
  readonly message: string;
  readonly remedy?: string;
}
