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

/** Sent by the enroller every few seconds, so that a blocked event loop is noticed. */
export interface Heartbeat {
  readonly type: 'alive';
}

/** Sent by an enroller that ends because of a bug of its own. */
export interface CrashReport {
  readonly type: 'crashed';
  readonly error: string;
}

/**
 * Numbers the keeper's requests, over all enrollers. A reply can cross the request that
 * replaces its own, and must not be taken for a reply to that one.
 */
export type RequestId = number;

/**
 * What the keeper has the enroller do. Requests, replies and notices are plain data that
 * crosses a process boundary; no key, token or PEM is ever part of it.
 */
export type EnrollerRequest =
  /** Tidy the directory, find the key pair of this name, and report it. */
  | { readonly type: 'inspect'; readonly name: string }
  /**
   * Have a certificate of this name issued, and store it. A repeated request continues with
   * the same key and CSR where the last attempt stopped, unless the template differs;
   * everything from then on is reported under the latest request.
   */
  | { readonly type: 'enroll'; readonly name: string; readonly template: CertificateTemplate }
  /** Write a temporary self-signed certificate of this name unless there is a key pair, and report it. */
  | { readonly type: 'self-sign'; readonly name: string }
  /**
   * Report the addresses in the Node object: now, and when they change for as long as
   * there are none, or without end with `follow`.
   */
  | { readonly type: 'look-up-addresses'; readonly follow: boolean }
  /**
   * Compare the certificate on disk, if it has this serial, with the one that the servers
   * of this name serve. They have `withinMs` to reload it.
   */
  | {
      readonly type: 'check-served';
      readonly name: string;
      readonly serial: string;
      readonly withinMs: number;
    }
  /** Link the key pair before the one with this serial. */
  | { readonly type: 'roll-back'; readonly name: string; readonly serial: string }
  /** Run the doctor's checks of an agent that starts. */
  | { readonly type: 'preflight' };

export type EnrollerCommand =
  | (EnrollerRequest & { readonly id: RequestId })
  /** Forget the key and the CSR of this name. There is no reply. */
  | { readonly type: 'abandon'; readonly name: string };

/** Why the agent only observes a key pair: the kubelet rotates it. */
export interface Observed {
  /** The kubelet's configuration file that turns its rotation on, and the key in it. */
  readonly file: string;
  readonly key: string;
}

/** The Node's status.addresses, as the API has them. */
export interface NodeAddress {
  readonly type: string;
  readonly address: string;
}

export interface CsrReference {
  readonly name: string;
  readonly uid: string;
  readonly createdAt: Instant;
}

/** The replies to each kind of request: any number with progress, then one that ends it. */
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
  /** The key pair behind `-current.pem`; absent when there is none. */
  | {
      readonly type: 'inspected';
      readonly pair?: PairFacts;
      /** A temporary self-signed certificate that was only just written. */
      readonly isNew?: true;
      /** The name of the CSR that this agent would create for the key of this pair. */
      readonly csr?: string;
      /** Present when something else rotates the pair, and the agent only observes it. */
      readonly observed?: Observed;
      /** What was repaired or set aside on the way, for the log. */
      readonly findings: readonly Finding[];
    }
  | { readonly type: 'inspection-failed'; readonly failure: Failure };

export type EnrollmentReply =
  | EnrollmentProgress
  | { readonly type: 'stored'; readonly pair: PairFacts; readonly findings: readonly Finding[] }
  | {
      readonly type: 'failed';
      readonly failure: Failure;
      /** The enroller still holds the key and the CSR, and can continue. */
      readonly resumable: boolean;
    };

/** The steps of an attempt before the key pair is stored. */
export type EnrollmentProgress =
  | { readonly type: 'requested'; readonly csr: CsrReference }
  | { readonly type: 'approved'; readonly csr: CsrReference }
  | { readonly type: 'issued'; readonly csr: CsrReference }
  /** Contact with the API server is lost; the CSR remains and the wait goes on. */
  | { readonly type: 'retrying'; readonly failure: Failure }
  /** The API server answers again; the CSR is still pending. */
  | { readonly type: 'recovered' };

export type AddressReply =
  | {
      readonly type: 'addresses';
      readonly addresses: readonly NodeAddress[];
      /** The look-up is over; otherwise more replies follow. */
      readonly final: boolean;
    }
  | { readonly type: 'addresses-failed'; readonly failure: Failure };

export interface ServedReply {
  readonly type: 'served';
  readonly outcome: ServedOutcome;
}

export interface RollbackReply {
  readonly type: 'rolled-back';
  readonly outcome: RollBackOutcome;
}

export interface PreflightReply {
  readonly type: 'preflight';
  readonly findings: readonly DoctorFinding[];
}

/** What the enroller reports without being asked. */
export type EnrollerNotice =
  | ({ readonly type: 'api-request' } & ApiRequestRecord)
  /** Local minus server clock in milliseconds, from the Date header (whole seconds). */
  | { readonly type: 'clock-skew'; readonly ms: number }
  /** The kubeconfig turns the verification of the API server's certificate off. */
  | { readonly type: 'insecure'; readonly server: string }
  /** The kubeconfig embeds or names another certificate than the stored one, which requests use. */
  | { readonly type: 'stale-kubeconfig'; readonly path: string; readonly pair: string }
  | {
      readonly type: 'kubeconfig';
      readonly path: string;
      /** What was written, replaced or set aside, for the log. */
      readonly findings: readonly Finding[];
      /** Why the kubelet cannot use the file as it is now. */
      readonly failure?: Failure;
    }
  /** Which credential requests are made with. */
  | { readonly type: 'credential'; readonly source: 'kubeconfig' | 'bootstrap' };

export type EnrollerReport = (EnrollerReply & { readonly id: RequestId }) | EnrollerNotice;

export type RollBackOutcome =
  | {
      readonly kind: 'rolled-back';
      /** Behind `-current.pem` from now on. */
      readonly pair: PairFacts;
      readonly findings: readonly Finding[];
    }
  /** Another key pair has been linked meanwhile. */
  | { readonly kind: 'overtaken' }
  /** No previous key pair is usable. */
  | { readonly kind: 'impossible'; readonly reason: string }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** One finished request to the API server, as metrics count it. */
export interface ApiRequestRecord {
  readonly verb: 'create' | 'get' | 'list' | 'watch' | 'update' | 'patch' | 'delete';
  /** HTTP status, or a code of errors.ts where no answer came. */
  readonly code: string;
  readonly seconds: number;
}

/** What the store repaired, set aside or removed; the log has one event per kind. */
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
    /** The new key pair is linked, but the sync or the removal of old pairs after it failed. */
    | 'cleanup-failed';
  readonly path: string;
  readonly detail: string;
}
