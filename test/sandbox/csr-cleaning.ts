import type { Instant } from '../../src/core/instant.ts';
import { day, hour } from '../../src/core/instant.ts';

/** A CSR object as far as the cleaner looks at it. */
export interface CsrRecord {
  readonly createdAt: Instant;
  readonly conditions: readonly {
    readonly type: string;
    /** NaN where the object does not say. */
    readonly updatedAt: Instant;
  }[];
  /** End of the issued certificate; absent while there is none. */
  readonly notAfter?: Instant;
}

export type CleaningReason = 'pending' | 'unissued' | 'denied' | 'failed' | 'issued' | 'expired';

/** How often the cleaner looks: a request outlives its limit by up to that. */
export const cleaningInterval = hour;
const decidedLimit = hour;
const undecidedLimit = day;

/**
 * Why kube-controller-manager deletes a CSR, or undefined while it stays. A pending
 * request has no condition at all; of a decided one the time of the decision counts.
 * Source: k8s.io/kubernetes v1.37, pkg/controller/certificates/cleaner/cleaner.go.
 */
export function cleaningReason(csr: CsrRecord, now: Instant): CleaningReason | undefined {
  const isOld = (since: Instant, limit: number): boolean => now - since > limit;
  const isPast = (type: string, limit: number): boolean =>
    csr.conditions.some(
      (condition) => condition.type === type && isOld(condition.updatedAt, limit),
    );
  if (csr.conditions.length === 0) {
    return isOld(csr.createdAt, undecidedLimit) ? 'pending' : undefined;
  }
  if (isPast('Denied', decidedLimit)) return 'denied';
  if (isPast('Failed', decidedLimit)) return 'failed';
  if (csr.notAfter === undefined)
    return isPast('Approved', undecidedLimit) ? 'unissued' : undefined;
  if (isPast('Approved', decidedLimit)) return 'issued';
  const approved = csr.conditions.some(({ type }) => type === 'Approved');
  return approved && now > csr.notAfter ? 'expired' : undefined;
}
