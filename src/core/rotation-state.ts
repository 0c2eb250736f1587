import type { PairFacts } from './certificate.ts';
import type { CertificateTemplate } from './certificate-spec.ts';
import type { CsrReference } from './enroller-protocol.ts';
import type { ErrorCode, Failure } from './errors.ts';
import type { Mismatch } from './identity.ts';
import type { Instant } from './instant.ts';

/** Where the rotation of one certificate stands; see rotation.ts for how it moves. */
export interface RotationState {
  readonly phase: Phase;
  /** The key pair behind `-current.pem`. */
  readonly pair?: PairFacts;
  /** When that pair is due for rotation. */
  readonly deadline?: Instant;
  /** Something else rotates the certificate, so none is requested. */
  readonly observed: boolean;
  /** What the certificate has to contain; absent while the addresses are unknown. */
  readonly template?: CertificateTemplate;
  /** The credential for requests is usable: for all but the client certificate, that one. */
  readonly identityReady: boolean;
  /** No request before this moment, because earlier requests led to nothing. */
  readonly notBefore: Instant;
  /** Consecutive failures. */
  readonly failures: number;
  /** The latest of them that share a back-off; see timing.ts. */
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
  /** Present while the pair is not valid yet: when to compare with the clock of the API server. */
  readonly checkServerClockAt?: Instant;
  readonly rotations: number;
}

export type Phase =
  | { readonly kind: 'inspecting'; readonly since: Instant }
  /** Nothing is due, or what is due is blocked; see `blockedBy`. */
  | { readonly kind: 'resting'; readonly since: Instant }
  | {
      readonly kind: 'enrolling';
      readonly since: Instant;
      readonly template: CertificateTemplate;
      readonly stage: 'requesting' | 'pending' | 'approved' | 'issued';
      readonly stageSince: Instant;
      readonly csr?: CsrReference;
      /** When the log last reminded of the missing approval or certificate. */
      readonly remindedAt?: Instant;
      /** The template changed; the request is abandoned at this moment unless it changes back. */
      readonly abandonAt?: Instant;
    }
  | {
      readonly kind: 'backing-off';
      readonly since: Instant;
      readonly delay: number;
      /** What failed and is retried. */
      readonly retry: 'inspect' | 'enroll';
      /** The template of the key and the CSR that the enroller still holds. */
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
  | { readonly type: 'files-changed' }
  /** A credential changed on disk, so a request that failed without it may succeed now. */
  | { readonly type: 'credential-changed' };

/** `-current.pem` names a previous pair again, because the server did not load the new one. */
export interface Rollback {
  /** The pair that is linked again. */
  readonly pair: PairFacts;
  readonly failure: Failure;
  /** Rollbacks in a row, this one included. */
  readonly count: number;
  /** When the next certificate may be requested, if an earlier run has drawn that moment already. */
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

export type DueReason = 'no-pair' | 'expired' | 'not-yet-valid' | 'renewal' | 'deadline' | Mismatch;

export interface RotationContext {
  readonly now: Instant;
  /** In [0, 1), drawn by the caller; spreads retries. */
  readonly random: number;
  /** Where in its range the deadline of a pair lies, by its serial; see `rotationFraction`. */
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
