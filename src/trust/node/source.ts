import type { Failure } from '../../core/errors.ts';
import type { TrustSourceKind } from '../../core/trust.ts';

/** What a source says about the CAs of the cluster. Nothing in the PEM data is checked yet. */
export type SourceReading = {
  readonly kind: TrustSourceKind;
  /** A path, or the name of the object. */
  readonly name: string;
} & (
  | { readonly outcome: 'read'; readonly pem: Uint8Array }
  /** The cluster or the node has no such source. */
  | { readonly outcome: 'absent'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly failure: Failure }
);
