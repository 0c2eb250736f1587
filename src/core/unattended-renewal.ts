import type { ErrorCode } from './errors.ts';

/**
 * The document that `nodecertd certs renew --unattended --output json` prints. Times are in RFC
 * 3339, as in the other documents.
 */
export interface UnattendedRenewal {
  readonly apiVersion: 'nodecertd.io/v1alpha1';
  readonly kind: 'UnattendedRenewal';
  readonly outcome: UnattendedOutcome;
  /** One sentence, for `waiting`, `refused` and `failed`. */
  readonly reason?: string;
  /** For `refused` and `failed`. */
  readonly code?: ErrorCode;
  /** For `refused` and `failed`. */
  readonly remedy?: string;
  /** Why the renewal did not need the Lease; absent if it held the Lease, or nothing was renewed. */
  readonly withoutLease?: WithoutLease;
  /** The certificates that this call renewed, or an earlier call that was killed. */
  readonly renewed: readonly UnattendedCertificate[];
  /**
   * The latest unattended renewal of each certificate, the last one at the end. A reader that
   * remembers their serial numbers misses no renewal, even if calls were killed.
   */
  readonly lastRenewals: readonly UnattendedCertificate[];
  readonly restarted: readonly { readonly component: string; readonly seconds: number }[];
  /** Certificates that cannot be renewed. They do not stop the renewal of the others. */
  readonly problems: readonly {
    readonly name: string;
    readonly code?: ErrorCode;
    readonly reason: string;
    readonly remedy?: string;
  }[];
  /** The certificate that is due first, of those that remain. Absent if there are none. */
  readonly nextDue?: { readonly name: string; readonly time: string };
  /** Absent if no unattended renewal has succeeded yet. */
  readonly lastSuccess?: string;
  /** When to call again, if that is sooner than the hourly check. */
  readonly retryAfterSeconds?: number;
}

export interface UnattendedCertificate {
  readonly name: string;
  readonly serial: string;
  readonly notAfter: string;
}

/**
 * - `not-due`: nothing has to be renewed now.
 * - `renewed`: everything that was due and can be renewed here is renewed.
 * - `waiting`: another node holds the Lease or has just finished, or is unhealthy.
 * - `refused`: nothing was changed, and a person has to fix the reason.
 * - `failed`: a renewal began and failed; the previous files are in place.
 */
export const unattendedOutcomes = ['not-due', 'renewed', 'waiting', 'refused', 'failed'] as const;
export type UnattendedOutcome = (typeof unattendedOutcomes)[number];

/**
 * - `api-unreachable`: an expired certificate of this node makes the API server unreachable.
 * - `others-unhealthy`: other nodes have been unhealthy for too long to wait any longer.
 */
export const withoutLeaseReasons = ['api-unreachable', 'others-unhealthy'] as const;
export type WithoutLease = (typeof withoutLeaseReasons)[number];
