import type { X509Certificate } from 'node:crypto';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { isSignedBy } from '../../kube/authorities.ts';
import type { RolloverAuthorities, RolloverSide } from './gate.ts';
import type { ClusterNode } from './state.ts';

/** Which CA of a rollover has issued a certificate. */
export type IssuedBy = RolloverSide | 'other';

/** Compares keys, because the old and the new CA often have the same name. */
export function issuerOf(leaf: X509Certificate, { old, next }: RolloverAuthorities): IssuedBy {
  if (next !== undefined && isSignedBy(leaf, next)) return 'next';
  return isSignedBy(leaf, old) ? 'old' : 'other';
}

/** Which CA of a rollover has this short fingerprint. */
export function sideOf(digits: string, { old, next }: RolloverAuthorities): IssuedBy {
  if (next !== undefined && digits === shortFingerprint(next.fingerprint)) return 'next';
  return digits === shortFingerprint(old.fingerprint) ? 'old' : 'other';
}

/** Whether a Node reports a certificate that this CA issued. */
export function reportsLeafFrom(
  { report }: Pick<ClusterNode, 'report'>,
  { fingerprint }: TrustAuthority,
): boolean {
  return (
    typeof report === 'object' && Object.values(report.leaf).includes(shortFingerprint(fingerprint))
  );
}
