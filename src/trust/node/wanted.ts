import type { CaPin } from '../../core/ca-pin.ts';
import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { ambiguousPairs, unionOf, unwantedIn } from '../../core/trust-bundle.ts';
import type { RefusedTrust, ReportedSource, TrustFinding } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName } from '../../core/trust.ts';
import { checkBundle } from './bundle-check.ts';
import type { SourceReading } from './source.ts';
import { describeSource } from './source.ts';

/** What the sources say together. */
export interface WantedTrust {
  /**
   * The CAs of all sources, beginning with the first source. Absent if no source could be read, or
   * the first source is refused.
   */
  readonly authorities?: readonly TrustAuthority[];
  readonly refusal?: RefusedTrust;
  /** Why no source has CAs. */
  readonly failure?: Failure;
  readonly sources: readonly ReportedSource[];
  readonly findings: readonly TrustFinding[];
}

interface SourceCheck {
  /** The CAs that this node trusts already. */
  readonly held: readonly TrustAuthority[];
  readonly pins: readonly CaPin[];
  readonly now: Instant;
}

/** Checks the CAs of each source. The first one that was read decides; the others only add CAs. */
export function wantedTrust(readings: readonly SourceReading[], check: SourceCheck): WantedTrust {
  const judged = readings.map((reading) => judge(reading, check));
  const sources = judged.map(({ reported }) => reported);
  const [first, ...others] = judged.filter(({ reported }) => reported.outcome === 'read');
  if (first === undefined) return { failure: noSource(readings), sources, findings: [] };
  if (first.refusal !== undefined) return { refusal: first.refusal, sources, findings: [] };
  const findings = [
    ...others.flatMap((other) => differences(first, other)),
    ...others.flatMap(({ refusal }) => (refusal === undefined ? [] : [refusedSource(refusal)])),
  ];
  const authorities = [first, ...others].reduce<readonly TrustAuthority[]>(
    (union, { accepted }) => unionOf(union, accepted),
    [],
  );
  return { authorities, sources, findings };
}

interface JudgedSource {
  readonly reported: ReportedSource;
  readonly accepted: readonly TrustAuthority[];
  readonly refusal?: RefusedTrust;
  readonly label: string;
}

function judge(reading: SourceReading, check: SourceCheck): JudgedSource {
  const { kind, name, outcome } = reading;
  const label = describeSource(reading);
  if (outcome !== 'read') {
    const reason = outcome === 'absent' ? reading.reason : reading.failure.message;
    return { reported: { kind, name, outcome, authorities: [], reason }, accepted: [], label };
  }
  const verdict = checkBundle(reading.pem, { source: reading, ...check });
  if (verdict.kind === 'accepted') {
    const accepted = verdict.authorities;
    const authorities = accepted.map(({ fingerprint }) => fingerprint);
    return { reported: { kind, name, outcome, authorities }, accepted, label };
  }
  const { refusal } = verdict;
  const reported = { kind, name, outcome, authorities: [], reason: refusal.message };
  return { reported, accepted: [], refusal, label };
}

/** The first failure, because an absent source is usual. */
function noSource(readings: readonly SourceReading[]): Failure {
  const failed = readings.find((reading) => reading.outcome === 'failed');
  if (failed !== undefined) return failed.failure;
  const reasons = readings.map((reading) =>
    reading.outcome === 'absent' ? `${describeSource(reading)}: ${reading.reason}` : '',
  );
  return {
    code: 'API_NOT_FOUND',
    message: `no source has the CAs of the cluster: ${reasons.join('; ')}`,
    remedy: 'Set trust.file to a PEM file with the CAs of the cluster',
  };
}

function differences(first: JudgedSource, other: JudgedSource): TrustFinding[] {
  if (other.refusal !== undefined) return [];
  const lacking = [
    lackingText(first, unwantedIn(other.accepted, first.accepted)),
    lackingText(other, unwantedIn(first.accepted, other.accepted)),
  ].filter((text) => text !== '');
  if (lacking.length === 0) return [];
  return [
    {
      id: 'sources_differ',
      message: `the sources have different CAs: ${lacking.join('; ')}; this node trusts all of them`,
      remedy: `Write the same CAs into ${first.label} and ${other.label}`,
    },
  ];
}

function lackingText({ label }: JudgedSource, authorities: readonly TrustAuthority[]): string {
  return authorities.length === 0 ? '' : `${label} lacks ${namesOf(authorities)}`;
}

function refusedSource({ message, remedy }: RefusedTrust): TrustFinding {
  return { id: 'source_refused', message, ...(remedy !== undefined && { remedy }) };
}

/** CAs that OpenSSL, and with it Node, curl and Python, cannot tell apart. */
export function ambiguityFindings(authorities: readonly TrustAuthority[]): TrustFinding[] {
  return ambiguousPairs(authorities).map((pair) => ({
    id: 'ca_ambiguous',
    message: `two CAs have the subject ${pair[0].subject}, and one has no SubjectKeyIdentifier: ${namesOf(pair)}; programs with OpenSSL, such as curl and Python, use only the first one`,
    remedy: 'Create the new CA with another subject, or with a SubjectKeyIdentifier in both',
  }));
}

/** As in `CN=kubernetes (0123456789abcdef)`. */
export function namesOf(authorities: readonly TrustAuthority[]): string {
  return authorities.map(authorityName).join(', ');
}
