import type { PairFacts } from './certificate.ts';
import type { CertificateTemplate } from './certificate-spec.ts';
import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import type { DoctorFinding } from './findings.ts';
import type { ServedOutcome } from './served.ts';

/**
 * Tells one attempt at a certificate from the next. The keeper counts them, for each
 * name and over all enrollers: a report may be on its way while its request is given
 * up for another, and must not be taken for the other's.
 */
export type AttemptId = number;

/**
 * The conversation between the keeper and the enroller. Plain data in both
 * directions, so that it can cross a process boundary; no key, token or PEM is
 * ever part of it.
 */
export type EnrollerCommand =
  /** Tidy the directory, find the pair of this name, and report it. */
  | { readonly type: 'inspect'; readonly name: string }
  /**
   * Get a pair of this name issued and stored. Repeating the command carries on
   * with the same key and CSR where the last try stopped, unless the template differs;
   * what comes of it is reported under the latest attempt either way.
   */
  | {
      readonly type: 'enroll';
      readonly name: string;
      readonly attempt: AttemptId;
      readonly template: CertificateTemplate;
    }
  /** Forget the key and the request of this name. */
  | { readonly type: 'abandon'; readonly name: string }
  /** Write a self-signed pair of this name unless there is one already, and report what is there. */
  | { readonly type: 'self-sign'; readonly name: string }
  /**
   * Report the addresses in the Node object: now, and when they change for as long
   * as there are none, or for ever with `follow`.
   */
  | { readonly type: 'look-up-addresses'; readonly follow: boolean }
  /**
   * Look whether the pair with this serial, if readers of the disk find it, is the one
   * that the servers of this name show. They may take `withinMs` for it.
   */
  | {
      readonly type: 'check-served';
      readonly name: string;
      readonly serial: string;
      readonly withinMs: number;
    }
  /** Have readers find the pair before the one with this serial again. */
  | { readonly type: 'roll-back'; readonly name: string; readonly serial: string }
  /** Examine the node, and report what is not as it should be. */
  | { readonly type: 'preflight' };

/** Somebody else rotates the pair. */
export interface Observed {
  /** The file of the kubelet's configuration that says so, and the key in it. */
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

export type EnrollerReport =
  /** The pair that readers of `-current.pem` find now; absent when there is none. */
  | {
      readonly type: 'inspected';
      readonly name: string;
      readonly pair?: PairFacts;
      /** A stand-in that was only just written. */
      readonly isNew?: true;
      /** The name that a request for this pair would have, were it one of this agent's. */
      readonly csr?: string;
      /** It is only looked at, and why. */
      readonly observed?: Observed;
      /** What was repaired or set aside on the way, for the log. */
      readonly findings: readonly Finding[];
    }
  | { readonly type: 'inspection-failed'; readonly name: string; readonly failure: Failure }
  | (EnrollmentStep & { readonly name: string; readonly attempt: AttemptId })
  | {
      readonly type: 'stored';
      readonly name: string;
      readonly attempt: AttemptId;
      readonly pair: PairFacts;
      readonly findings: readonly Finding[];
    }
  | {
      readonly type: 'failed';
      readonly name: string;
      readonly attempt: AttemptId;
      readonly failure: Failure;
      /** The enroller still holds the key and the request, and can carry on. */
      readonly resumable: boolean;
    }
  | {
      readonly type: 'served';
      readonly name: string;
      /** Of the pair that was asked about. */
      readonly serial: string;
      readonly outcome: ServedOutcome;
    }
  | {
      readonly type: 'rolled-back';
      readonly name: string;
      /** Of the pair that was to be gone back from. */
      readonly serial: string;
      readonly outcome: RollBackOutcome;
    }
  | {
      readonly type: 'addresses';
      readonly addresses: readonly NodeAddress[];
      /** The look-up is over; more reports follow otherwise. */
      readonly final: boolean;
    }
  | { readonly type: 'addresses-failed'; readonly failure: Failure }
  | ({ readonly type: 'api-request' } & ApiRequestRecord)
  /** Local minus server clock in milliseconds, from the Date header (whole seconds). */
  | { readonly type: 'clock-skew'; readonly ms: number }
  /** The API server's certificate is not verified, as the kubeconfig demands. */
  | { readonly type: 'insecure'; readonly server: string }
  /** The kubeconfig embeds or names another certificate than the pair that is kept; requests use the pair. */
  | { readonly type: 'stale-kubeconfig'; readonly path: string; readonly pair: string }
  | {
      readonly type: 'kubeconfig';
      readonly path: string;
      /** What was written, replaced or set aside, for the log. */
      readonly findings: readonly Finding[];
      /** Why the kubelet cannot use the file as it is now. */
      readonly failure?: Failure;
    }
  | { readonly type: 'preflight'; readonly findings: readonly DoctorFinding[] }
  /** Which credential requests are made with. */
  | { readonly type: 'credential'; readonly source: 'kubeconfig' | 'bootstrap' };

export type RollBackOutcome =
  | {
      readonly kind: 'rolled-back';
      /** What readers find from now on. */
      readonly pair: PairFacts;
      readonly findings: readonly Finding[];
    }
  /** Readers find another pair than the one to go back from. */
  | { readonly kind: 'overtaken' }
  /** No earlier pair would do. */
  | { readonly kind: 'impossible'; readonly reason: string }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** What becomes of an attempt on its way to a pair. */
export type EnrollmentStep =
  | { readonly type: 'requested'; readonly csr: CsrReference }
  | { readonly type: 'approved'; readonly csr: CsrReference }
  | { readonly type: 'issued'; readonly csr: CsrReference }
  /** Waiting for the decision is disturbed; the request stands and the wait goes on. */
  | { readonly type: 'trouble'; readonly failure: Failure }
  /** The wait that was disturbed got an answer again; no decision yet. */
  | { readonly type: 'calm' };

/** One finished request to the API server, as metrics count it. */
export interface ApiRequestRecord {
  readonly verb: 'create' | 'get' | 'list' | 'watch' | 'update' | 'patch' | 'delete';
  /** HTTP status, or a code of errors.ts where no answer came. */
  readonly code: string;
  readonly seconds: number;
}

/** Something the store repaired, set aside or removed; the log has one event per kind. */
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
    /** The new pair is in place, but what comes after it (sync, removal of old pairs) failed. */
    | 'cleanup-failed';
  readonly path: string;
  readonly detail: string;
}
