import type { PairFacts } from './certificate.ts';
import type { CertificateTemplate } from './certificate-spec.ts';
import type { CsrReference } from './enroller-protocol.ts';
import type { ErrorCode, Failure } from './errors.ts';
import type { Mismatch } from './identity.ts';
import type { Instant } from './instant.ts';
import type { RotationWindow } from './schedule.ts';

/** The state of the rotation of one certificate; rotation.ts has the transitions. */
export interface RotationState {
  readonly phase: Phase;
  /** The key pair behind `-current.pem`. */
  readonly pair?: PairFacts;
  /** When that pair is due for rotation. */
  readonly deadline?: Instant;
  /** The kubelet rotates the certificate, so the agent requests none. */
  readonly observed: boolean;
  /** The template of the next request; absent while the addresses are unknown. */
  readonly template?: CertificateTemplate;
  /**
   * The credential for requests is usable. Requests for the other certificates use the client
   * certificate.
   */
  readonly identityReady: boolean;
  /** No request starts before this time, because earlier CSRs are unfinished. */
  readonly notBefore: Instant;
  /** Consecutive failures. */
  readonly failures: number;
  /** Consecutive failures with the back-off of the latest one; see timing.ts. */
  readonly streak: number;
  /** Code of the latest failure, kept until a usable pair is found. */
  readonly lastCode?: ErrorCode;
  /** Requests abandoned since the last stored pair, because the template changed. */
  readonly abandoned: number;
  readonly lastFailure?: Failure & { readonly at: Instant };
  /** When this run last stored a pair. */
  readonly storedAt?: Instant;
  /** When an administrator requested a new certificate; absent once it is stored. */
  readonly renewalAt?: Instant;
  /** The serial of a pair that is due because the signer uses another CA. */
  readonly behind?: string;
  /**
   * The time of the next comparison with the clock of the API server; present while the pair is
   * not valid yet.
   */
  readonly checkServerClockAt?: Instant;
  readonly rotations: number;
}

export type Phase =
  | { readonly kind: 'inspecting'; readonly since: Instant }
  /** No request is due, or the due request is blocked; see `blockedBy`. */
  | { readonly kind: 'idle'; readonly since: Instant }
  | {
      readonly kind: 'enrolling';
      readonly since: Instant;
      readonly template: CertificateTemplate;
      /** The pair at the start of the enrollment; absent when there was none. */
      readonly replaces?: PairFacts;
      readonly stage: 'requesting' | 'pending' | 'approved' | 'issued';
      readonly stageSince: Instant;
      readonly csr?: CsrReference;
      /** The time of the last reminder in the log. */
      readonly remindedAt?: Instant;
      /** The template changed; the request is abandoned at this moment unless it changes back. */
      readonly abandonAt?: Instant;
    }
  | {
      readonly kind: 'backing-off';
      readonly since: Instant;
      readonly delay: number;
      /** The operation to retry. */
      readonly retry: 'inspect' | 'enroll';
      /** The template of the key and the CSR that the enroller still has; absent if it has none. */
      readonly template?: CertificateTemplate;
      readonly csr?: CsrReference;
    };

export type RotationEvent =
  | { readonly type: 'tick' }
  | {
      readonly type: 'inspected';
      readonly pair?: PairFacts;
      readonly observed?: boolean;
    }
  | { readonly type: 'template'; readonly template?: CertificateTemplate }
  | { readonly type: 'identity'; readonly ready: boolean }
  | {
      readonly type: 'progress';
      readonly stage: 'pending' | 'approved' | 'issued';
      readonly csr: CsrReference;
    }
  | { readonly type: 'stored'; readonly pair: PairFacts }
  | { readonly type: 'failed'; readonly failure: Failure; readonly resumable: boolean }
  | { readonly type: 'inspection-failed'; readonly failure: Failure }
  | ({ readonly type: 'rolled-back' } & Rollback)
  /** An administrator requests a new certificate now. */
  | { readonly type: 'renew' }
  /** The pair with this serial is due because the signer uses another CA; absent if none is. */
  | { readonly type: 'behind'; readonly serial?: string }
  | { readonly type: 'files-changed' }
  /** A credential changed on disk, so a request that failed without it may succeed now. */
  | { readonly type: 'credential-changed' };

/** `-current.pem` links to the previous pair again, because the server did not load the new one. */
export interface Rollback {
  /** The pair that is linked again. */
  readonly pair: PairFacts;
  readonly failure: Failure;
  /** Rollbacks in a row, this one included. */
  readonly count: number;
  /** The earliest time of the next request, if an earlier run chose it. */
  readonly until?: Instant;
}

export type RotationEffect =
  | { readonly type: 'inspect' }
  | { readonly type: 'enroll'; readonly template: CertificateTemplate; readonly reason: DueReason }
  | { readonly type: 'abandon' }
  /** The CSR has been pending, or approved without being issued, for `ms`. */
  | {
      readonly type: 'remind-approver' | 'remind-signer';
      readonly csr: CsrReference;
      readonly ms: number;
    }
  | { readonly type: 'recovered'; readonly failures: number };

export type DueReason =
  | 'no-pair'
  | 'expired'
  | 'not-yet-valid'
  | 'renewal'
  | 'deadline'
  /** The signer uses a CA that did not issue the pair. */
  | 'issuer-behind'
  | Mismatch;

export interface RotationContext {
  readonly now: Instant;
  /** A random number in [0, 1) that spreads retries. */
  readonly random: number;
  readonly window: RotationWindow;
  /**
   * The position of a pair's deadline in its window, by the serial of the pair; see
   * `rotationFraction`.
   */
  readonly fraction: (serial: string) => number;
}

export interface Transition {
  readonly state: RotationState;
  readonly effects: readonly RotationEffect[];
}

export function initialState(options: {
  readonly now: Instant;
  readonly identityReady: boolean;
  readonly delay: number;
}): RotationState {
  return {
    phase: { kind: 'inspecting', since: options.now },
    observed: false,
    identityReady: options.identityReady,
    notBefore: options.now + options.delay,
    failures: 0,
    streak: 0,
    abandoned: 0,
    rotations: 0,
  };
}
