import type { Failure } from '../../core/errors.ts';
import type { TrustSourceKind } from '../../core/trust.ts';

export interface TrustSource {
  readonly kind: TrustSourceKind;
  /** A path, or the name of the object. */
  readonly name: string;
}

/** What a source says about the CAs of the cluster. Nothing in the PEM data is checked yet. */
export type SourceReading = TrustSource &
  (
    | { readonly outcome: 'read'; readonly pem: Uint8Array }
    /** The cluster or the node has no such source. */
    | { readonly outcome: 'absent'; readonly reason: string }
    | { readonly outcome: 'failed'; readonly failure: Failure }
  );

/** For messages. */
export function describeSource({ kind, name }: TrustSource): string {
  switch (kind) {
    case 'file':
      return name;
    case 'cluster-trust-bundle':
      return `ClusterTrustBundle ${name}`;
    case 'cluster-info':
      return `ConfigMap ${name}`;
    default:
      return kind satisfies never;
  }
}
