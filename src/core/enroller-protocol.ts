import type { CaPin } from './ca-pin.ts';
import type { PairFacts } from './certificate.ts';
import type { CertificateTemplate } from './certificate-spec.ts';
import type { AgentConfig } from './config.ts';
import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import type { DoctorFinding } from './findings.ts';
import type { ServedOutcome } from './served.ts';

/** The keeper's first message to an enroller; commands follow. */
export interface Greeting {
  readonly config: AgentConfig;
  readonly version: string;
}

/** The enroller sends this every few seconds, so that the keeper notices a blocked event loop. */
export interface Heartbeat {
  readonly type: 'alive';
}

/** The enroller sends this before it exits because of a bug. */
export interface CrashReport {
  readonly type: 'crashed';
  readonly error: string;
}

/**
 * The number of a request from the keeper, unique across enroller processes. It tells a late
 * reply to a replaced request from a reply to the new request.
 */
export type RequestId = number;

/**
 * A request from the keeper. Requests, replies and notices are plain data that crosses a process
 * boundary. They never contain a key, a token or PEM data.
 */
export type EnrollerRequest =
  /** Clean up the directory, find the key pair of this name, and report the pair. */
  | { readonly type: 'inspect'; readonly name: string }
  /**
   * Request a certificate of this name, and store it. Unless the template differs, a repeated
   * request continues the last attempt with the same key and CSR. All later replies belong to the
   * repeated request.
   */
  | { readonly type: 'enroll'; readonly name: string; readonly template: CertificateTemplate }
  /**
   * Write a temporary self-signed certificate of this name unless a key pair exists, and report
   * the pair.
   */
  | { readonly type: 'self-sign'; readonly name: string }
  /**
   * Report the addresses of the Node object. While the Node has none, report them again when they
   * change. With `follow`, report every change.
   */
  | { readonly type: 'look-up-addresses'; readonly follow: boolean }
  /**
   * If the certificate on disk has this serial, check that the servers of this name serve it. The
   * servers have `withinMs` to reload.
   */
  | {
      readonly type: 'check-served';
      readonly name: string;
      readonly serial: string;
      readonly withinMs: number;
    }
  /** If the current key pair has this serial, link the previous key pair. */
  | { readonly type: 'roll-back'; readonly name: string; readonly serial: string }
  /** Run the preflight checks. */
  | { readonly type: 'preflight' };

export type EnrollerCommand =
  | (EnrollerRequest & { readonly id: RequestId })
  /** Forget the key and the CSR of this name. There is no reply. */
  | { readonly type: 'abandon'; readonly name: string };

/** The setting by which the kubelet rotates a certificate, so that the agent only observes it. */
export interface Observed {
  /** The kubelet's configuration file, and the key in the file that enables the rotation. */
  readonly file: string;
  readonly key: string;
}

/** An entry of the Node's status.addresses. */
export interface NodeAddress {
  readonly type: string;
  readonly address: string;
}

export interface CsrReference {
  readonly name: string;
  readonly uid: string;
  readonly createdAt: Instant;
  /** Why nodecertd approver has not decided yet, if it says so. */
  readonly hold?: CsrHold;
}

export interface CsrHold {
  /** A code such as `AddressesEmpty`. */
  readonly reason: string;
  readonly message: string;
  /** The change that would alter the outcome, as an imperative. */
  readonly remedy: string;
}

/** The replies to each type of request: any number of progress replies, then a final reply. */
export interface EnrollerReplies {
  readonly inspect: InspectionReply;
  readonly 'self-sign': InspectionReply;
  readonly enroll: EnrollmentReply;
  readonly 'look-up-addresses': AddressReply;
  readonly 'check-served': ServedReply;
  readonly 'roll-back': RollbackReply;
  readonly preflight: PreflightReply;
}

export type EnrollerReply = EnrollerReplies[keyof EnrollerReplies];

export type InspectionReply =
  /** The key pair behind `-current.pem`; absent if there is none. */
  | {
      readonly type: 'inspected';
      readonly pair?: PairFacts;
      /** True if the enroller has just written this temporary self-signed certificate. */
      readonly isNew?: true;
      /** The name of the CSR that this agent would create for the key of this pair. */
      readonly csr?: string;
      /** Present if the kubelet rotates the pair and the agent only observes it. */
      readonly observed?: Observed;
      /** Repairs and cleanups during the inspection, for the log. */
      readonly findings: readonly Finding[];
    }
  | { readonly type: 'inspection-failed'; readonly failure: Failure };

export type EnrollmentReply =
  | EnrollmentProgress
  | { readonly type: 'stored'; readonly pair: PairFacts; readonly findings: readonly Finding[] }
  | {
      readonly type: 'failed';
      readonly failure: Failure;
      /** The enroller still has the key and the CSR, and can continue. */
      readonly resumable: boolean;
    };

/** The steps of an attempt before the key pair is stored. */
export type EnrollmentProgress =
  | { readonly type: 'requested'; readonly csr: CsrReference }
  | { readonly type: 'approved'; readonly csr: CsrReference }
  | { readonly type: 'issued'; readonly csr: CsrReference }
  /**
   * The enroller lost contact with the API server. The CSR remains, and the enroller keeps
   * waiting.
   */
  | { readonly type: 'retrying'; readonly failure: Failure }
  /** The API server answers again; the CSR is still pending. */
  | { readonly type: 'recovered' };

export type AddressReply =
  | {
      readonly type: 'addresses';
      readonly addresses: readonly NodeAddress[];
      /** False if more replies follow. */
      readonly final: boolean;
    }
  | { readonly type: 'addresses-failed'; readonly failure: Failure };

export interface ServedReply {
  readonly type: 'served';
  readonly outcome: ServedOutcome;
}

export interface RollbackReply {
  readonly type: 'rolled-back';
  readonly outcome: RollbackOutcome;
}

export interface PreflightReply {
  readonly type: 'preflight';
  readonly findings: readonly DoctorFinding[];
}

/** A report of the enroller that is not a reply. */
export type EnrollerNotice =
  | ({ readonly type: 'api-request' } & ApiRequestRecord)
  /** Local minus server clock in milliseconds, from the Date header (whole seconds). */
  | { readonly type: 'clock-skew'; readonly ms: number }
  /** The kubeconfig disables verification of the API server's certificate. */
  | { readonly type: 'insecure'; readonly server: string }
  /**
   * The kubeconfig embeds or names a certificate other than the stored one. The enroller uses the
   * stored one.
   */
  | { readonly type: 'stale-kubeconfig'; readonly path: string; readonly pair: string }
  | {
      readonly type: 'kubeconfig';
      readonly path: string;
      /** Files written, replaced or set aside, for the log. */
      readonly findings: readonly Finding[];
      /** Present if the kubelet cannot use the file. */
      readonly failure?: Failure;
    }
  /** The source of the credential for requests to the API server. */
  | { readonly type: 'credential'; readonly source: 'kubeconfig' | 'bootstrap' }
  /** A step of a discovery by `bootstrap.discovery`. */
  | { readonly type: 'discovery'; readonly line: string }
  /** The cluster that the discovery found and verified. */
  | {
      readonly type: 'discovered';
      readonly server: string;
      readonly authorities: readonly DiscoveredCa[];
      readonly warnings: readonly string[];
    }
  /** The verified API server rejects the client certificate of this node, so the node needs another one. */
  | { readonly type: 'identity-refused'; readonly error: string };

export interface DiscoveredCa {
  readonly subject: string;
  readonly pin: CaPin;
  readonly isPinned: boolean;
}

export type EnrollerReport = (EnrollerReply & { readonly id: RequestId }) | EnrollerNotice;

export type RollbackOutcome =
  | {
      readonly kind: 'rolled-back';
      /** The pair that `-current.pem` now links to. */
      readonly pair: PairFacts;
      readonly findings: readonly Finding[];
    }
  /** Another key pair was linked in the meantime. */
  | { readonly kind: 'replaced' }
  /** No previous key pair is usable. */
  | { readonly kind: 'impossible'; readonly reason: string }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** One finished request to the API server, as metrics count it. */
export interface ApiRequestRecord {
  readonly verb: 'create' | 'get' | 'list' | 'watch' | 'update' | 'patch' | 'delete';
  /** HTTP status, or a code of errors.ts if no response arrived. */
  readonly code: string;
  readonly seconds: number;
}

/** A repair or cleanup by the store. Each kind has its own log event. */
export interface Finding {
  readonly kind:
    | 'swap-completed'
    | 'pair-adopted'
    | 'pair-set-aside'
    | 'link-repaired'
    | 'pair-rolled-back'
    | 'pair-pruned'
    | 'permissions-tightened'
    | 'stray-removed'
    | 'kubeconfig-written'
    | 'kubeconfig-replaced'
    | 'kubeconfig-set-aside'
    | 'bootstrap-removed'
    /** A file of the bootstrap could not be removed. */
    | 'bootstrap-kept'
    /** The new key pair is linked, but the sync or the removal of old pairs after it failed. */
    | 'cleanup-failed';
  readonly path: string;
  readonly detail: string;
}
