import type { Instant } from './instant.ts';
import { formatInstant } from './instant.ts';
import type { ReportedAuthority, ReportedReader, TrustReport } from './trust-report.ts';

/** The document that `nodecertd trust sync --output json` prints: the report, with times in RFC 3339. */
export type TrustDocument = {
  readonly apiVersion: 'nodecertd.io/v1alpha1';
  readonly kind: 'TrustReport';
} & Shown<Omit<TrustReport, 'authorities' | 'reader'>> & {
    readonly authorities: readonly Shown<ReportedAuthority>[];
    readonly reader: Shown<ReportedReader>;
  };

type TimeKey = 'notAfter' | 'missingSince' | 'since' | 'restartAt' | 'changedAt';

/** A part of the report, in which each time is a text. */
type Shown<T> = { readonly [K in keyof T]: K extends TimeKey ? string : T[K] };

export function trustDocument({
  changedAt,
  authorities,
  reader,
  ...report
}: TrustReport): TrustDocument {
  const { since, restartAt, ...shownReader } = reader;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'TrustReport',
    ...report,
    ...time('changedAt', changedAt),
    authorities: authorities.map(({ notAfter, missingSince, ...authority }) => ({
      ...authority,
      notAfter: formatInstant(notAfter),
      ...time('missingSince', missingSince),
    })),
    reader: { ...shownReader, ...time('since', since), ...time('restartAt', restartAt) },
  };
}

function time<K extends TimeKey>(
  key: K,
  instant: Instant | undefined,
): { readonly [P in K]?: string } {
  return (instant === undefined ? {} : { [key]: formatInstant(instant) }) as { [P in K]?: string };
}
