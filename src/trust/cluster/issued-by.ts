import type { X509Certificate } from 'node:crypto';
import { isSignedBy } from '../../kube/authorities.ts';
import type { RolloverAuthorities, RolloverSide } from './gate.ts';

/** Which CA of a rollover has issued a certificate. */
export type IssuedBy = RolloverSide | 'other';

/** Compares keys, because the old and the new CA often have the same name. */
export function issuerOf(leaf: X509Certificate, { old, next }: RolloverAuthorities): IssuedBy {
  if (next !== undefined && isSignedBy(leaf, next)) return 'next';
  return isSignedBy(leaf, old) ? 'old' : 'other';
}
