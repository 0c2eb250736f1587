import type { ReportedLeaf } from './trust-report.ts';
import type { TrustStage } from './trust.ts';

export interface StageFacts {
  /** Fingerprints of the CAs in any kept place, in the order of the bundle. */
  readonly held: readonly string[];
  /** A wanted CA is missing in a kept place. */
  readonly isIncomplete: boolean;
  /** The held CAs that the source no longer has. */
  readonly unwanted: readonly string[];
  readonly isReaderPending: boolean;
  readonly leaves: readonly Pick<ReportedLeaf, 'isBehind'>[];
  /** The fingerprint of the CA that the signer uses, if it is known. */
  readonly issuer?: string | undefined;
}

/** Derived from files and certificates alone, so that a restart in any stage finds the same one. */
export function trustStage({
  held,
  isIncomplete,
  unwanted,
  isReaderPending,
  leaves,
  issuer,
}: StageFacts): TrustStage {
  if (isIncomplete) return 'adding';
  if (held.length <= 1) return 'single';
  if (isReaderPending) return 'adding';
  if (leaves.some(({ isBehind }) => isBehind)) return 'reissuing';
  if (unwanted.length > 0) return 'dropping';
  // A bundle keeps the held CAs first, so the new one is the last.
  return issuer === held.at(-1) ? 'reissued' : 'union';
}
