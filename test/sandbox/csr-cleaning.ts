import type { Instant } from '../../src/core/instant.ts';
import { day, hour } from '../../src/core/instant.ts';

/** The fields of a CSR that the cleaner uses. */
export interface CsrRecord {
  readonly createdAt: Instant;
  readonly conditions: readonly {
    readonly type: string;
    /** NaN if the object has no time. */
    readonly updatedAt: Instant;
  }[];
  /** The end of the issued certificate, if there is one. */
  readonly notAfter?: Instant;
}

export type CleaningReason = 'pending' | 'unissued' | 'denied' | 'failed' | 'issued' | 'expired';

/** The interval of the cleaner. A CSR can outlive its limit by that. */
export const cleaningInterval = hour;
const finishedLimit = hour;
const unfinishedLimit = day;

/**
 * Why kube-controller-manager deletes a CSR, or undefined if it keeps it. The age of a
 * pending CSR, which has no condition, counts from its creation, and that of a decided
 * one from the decision. Source: k8s.io/kubernetes v1.37,
 * pkg/controller/certificates/cleaner/cleaner.go.
 */
export function cleaningReason(csr: CsrRecord, now: Instant): CleaningReason | undefined {
  const isOld = (since: Instant, limit: number): boolean => now - since > limit;
  const isPast = (type: string, limit: number): boolean =>
    csr.conditions.some(
      (condition) => condition.type === type && isOld(condition.updatedAt, limit),
    );
  if (csr.conditions.length === 0) {
    return isOld(csr.createdAt, unfinishedLimit) ? 'pending' : undefined;
  }
  if (isPast('Denied', finishedLimit)) return 'denied';
  if (isPast('Failed', finishedLimit)) return 'failed';
  if (csr.notAfter === undefined)
    return isPast('Approved', unfinishedLimit) ? 'unissued' : undefined;
  if (isPast('Approved', finishedLimit)) return 'issued';
  const approved = csr.conditions.some(({ type }) => type === 'Approved');
  return approved && now > csr.notAfter ? 'expired' : undefined;
}
