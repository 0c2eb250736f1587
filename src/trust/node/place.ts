import type { Failure } from '../../core/errors.ts';
import type { TrustAuthority, TrustPlaceKind } from '../../core/trust.ts';

/** A file of this node that contains or names CAs. */
export interface TrustPlace {
  readonly kind: TrustPlaceKind;
  /** The kubeconfig or the PEM file. */
  readonly path: string;
  /** The CA file that a kubeconfig names. Absent if it embeds the CAs. */
  readonly file?: string;
  /** False for a place that nodecertd only reports. */
  readonly isKept: boolean;
  /** The next change moves the embedded CAs to this file, which the kubeconfig then names. */
  readonly moveTo?: string;
  readonly authorities: readonly TrustAuthority[];
  /** Why the CAs cannot be read or written. */
  readonly problem?: Failure;
}

/** How the file of a place contains CAs. */
export function formOf(kind: TrustPlaceKind): 'kubeconfig' | 'pem' {
  return kind.endsWith('kubeconfig') ? 'kubeconfig' : 'pem';
}
