import type { PairFacts } from './certificate.ts';
import type { CertificateTemplate } from './certificate-spec.ts';
import type { CsrReference } from './enroller-protocol.ts';
import type { ErrorCode, Failure } from './errors.ts';
import type { Mismatch } from './identity.ts';
import type { Instant } from './instant.ts';

/** Where the rotation of one certificate stands; see rotation.ts for how it moves. */
export interface RotationState {
  readonly phase: Phase;
  /** What readers of `-current.pem` find. */
  readonly pair?: PairFacts;
  /** When that pair is to be replaced. */
  readonly deadline?: Instant;
  /** Somebody else rotates it: nothing is asked for. */
  readonly observed: boolean;
  /** What the certificate has to be; absent while the addresses are unknown. */
  readonly template?: CertificateTemplate;
  /** The credential for requests is there: the client certificate, for all others. */
  readonly identityReady: boolean;
  /** No request before this moment, because of those that earlier runs left behind. */
  readonly notBefore: Instant;
  /** Consecutive failures. */
  readonly failures: number;
  /** Those among the latest that were of one kind; see backoff.ts. */
  readonly streak: number;
  /** Of the latest failure, also when it has been overcome since. */
  readonly lastCode?: ErrorCode;
  /** Requests given up since the last stored pair, because the template changed. */
  readonly abandoned: number;
  readonly lastFailure?: Failure & { readonly at: Instant };
  /** When this run last stored a pair. */
  readonly storedAt?: Instant;
  /** When a person asked for a new pair whatever the old one is like; until there is one. */
  readonly renewalAt?: Instant;
  /** The pair is not valid yet; from this moment on the API server is asked whether it ever will be. */
  readonly doubtAt?: Instant;
  readonly rotations: number;
}

export type Phase =
  | { readonly kind: 'inspecting'; readonly since: Instant }
  /** Nothing to do, or nothing that can be done yet; `blockedBy` tells which. */
  | { readonly kind: 'resting'; readonly since: Instant }
  | {
      readonly kind: 'enrolling';
      readonly since: Instant;
      readonly template: CertificateTemplate;
      readonly stage: 'requesting' | 'pending' | 'approved' | 'issued';
      readonly stageSince: Instant;
      readonly csr?: CsrReference;
      /** When an approver, or a signer, was last asked for in the log. */
      readonly remindedAt?: Instant;
      /** The template changed; the request is given up at this moment unless it changes back. */
      readonly abandonAt?: Instant;
    }
  | {
      readonly kind: 'backing-off';
      readonly since: Instant;
      readonly delay: number;
      /** What failed and is done again. */
      readonly retry: 'inspect' | 'enroll';
      /** The template of the key and request that the enroller still holds. */
      readonly template?: CertificateTemplate;
      readonly csr?: CsrReference;
    };

export type RotationEvent =
  | { readonly type: 'tick' }
  | {
      readonly type: 'inspected';
      readonly pair?: PairFacts;
      readonly deadline?: Instant;
      readonly observed?: boolean;
    }
  | { readonly type: 'template'; readonly template?: CertificateTemplate }
  | { readonly type: 'identity'; readonly ready: boolean }
  | {
      readonly type: 'progress';
      readonly stage: 'pending' | 'approved' | 'issued';
      readonly csr: CsrReference;
    }
  | { readonly type: 'stored'; readonly pair: PairFacts; readonly deadline: Instant }
  | { readonly type: 'failed'; readonly failure: Failure; readonly resumable: boolean }
  | { readonly type: 'inspection-failed'; readonly failure: Failure }
  /** Readers find an earlier pair again, since the server does not take the newer one over. */
  | {
      readonly type: 'rolled-back';
      readonly pair: PairFacts;
      readonly deadline: Instant;
      readonly failure: Failure;
      /** How often in a row. */
      readonly count: number;
      /** When the next one may be asked for, where an earlier run has drawn that already. */
      readonly until?: Instant;
    }
  /** A person wants a new pair, now. */
  | { readonly type: 'renew' }
  /** Files changed under us: look again. */
  | { readonly type: 'disturbed' }
  /** A credential changed on disk: what failed for want of it may work now. */
  | { readonly type: 'credential-changed' };

export type RotationEffect =
  | { readonly type: 'inspect' }
  | { readonly type: 'enroll'; readonly template: CertificateTemplate; readonly reason: DueReason }
  | { readonly type: 'abandon' }
  /** The request that stands has been undecided, or approved and not issued, for `ms`. */
  | {
      readonly type: 'remind-approver' | 'remind-signer';
      readonly csr: CsrReference;
      readonly ms: number;
    }
  | { readonly type: 'recovered'; readonly failures: number };

export type DueReason = 'no-pair' | 'expired' | 'not-yet-valid' | 'renewal' | 'deadline' | Mismatch;

export interface RotationContext {
  readonly now: Instant;
  /** In [0, 1), drawn by the caller: spreads retries. */
  readonly chance: number;
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
