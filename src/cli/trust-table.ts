import { shortFingerprint } from '../core/trust.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { ReportedReader, TrustOutcome, TrustReport } from '../core/trust-report.ts';
import { adviceLines, section } from './renewal-table.ts';
import { alignColumns, oneLine } from './text.ts';

/** The trust of this node, for people. */
export function trustTable(report: TrustReport, now: Instant): string {
  return [
    ...summary(report),
    ...section('CAS', authorityLines(report, now)),
    ...section('FILES', placeLines(report)),
    ...section('SOURCES', sourceLines(report)),
    ...section('CERTIFICATES', leafLines(report)),
    ...section('KUBELET', readerLines(report.reader)),
    ...section('FINDINGS', findingLines(report)),
    '',
  ].join('\n');
}

const headings: Readonly<Record<TrustOutcome, string>> = {
  'in-sync': 'This node trusts the CAs of its sources',
  changed: 'Changed',
  waiting: 'Waiting',
  refused: 'Refused',
  failed: 'Failed',
};

function summary({ outcome, stage, refusal, failure }: TrustReport): string[] {
  // A run may also wait for something else.
  const others = outcome === 'in-sync' ? undefined : failure;
  const reason = outcome === 'refused' ? refusal : others;
  const what = reason === undefined ? '' : `: ${oneLine(reason.message)} (${reason.code})`;
  return [
    `${headings[outcome]}${what}`,
    ...(reason?.remedy === undefined ? [] : [`  → ${oneLine(reason.remedy)}`]),
    `Stage: ${stage}`,
  ];
}

function authorityLines({ authorities }: TrustReport, now: Instant): string[] {
  const rows = authorities.map(({ subject, fingerprint, notAfter, isHeld, isWanted }) => [
    oneLine(subject),
    shortFingerprint(fingerprint),
    formatInstant(notAfter),
    notAfter > now ? `in ${formatDuration(notAfter - now)}` : 'expired',
    isHeld ? 'yes' : 'no',
    isWanted ? 'yes' : 'no',
  ]);
  return table(
    ['CA', 'FINGERPRINT', 'EXPIRES', '', 'IN EVERY MANAGED FILE', 'IN THE SOURCE'],
    rows,
  );
}

function placeLines({ places }: TrustReport): string[] {
  const rows = places.map(({ kind, path, file, isKept, authorities, problem }) => [
    kind,
    oneLine(path),
    problem === undefined ? authorities.map(shortFingerprint).join(' ') : oneLine(problem),
    isKept ? 'yes' : 'no',
    file === undefined ? '' : oneLine(file),
  ]);
  return table(['KIND', 'FILE', 'CAS', 'MANAGED', 'CA FILE'], rows);
}

function sourceLines({ sources }: TrustReport): string[] {
  const rows = sources.map(({ kind, name, outcome, authorities, reason = '' }) => [
    kind,
    oneLine(name),
    outcome,
    reason === '' ? authorities.map(shortFingerprint).join(' ') : oneLine(reason),
  ]);
  return table(['KIND', 'NAME', 'RESULT', 'CAS'], rows);
}

function leafLines({ leaves }: TrustReport): string[] {
  const rows = leaves.map(({ name, issuer, isBehind }) => [
    name,
    issuer === undefined ? 'unknown' : shortFingerprint(issuer),
    isBehind ? 'no' : 'yes',
  ]);
  return table(['NAME', 'ISSUER', "FROM THE SIGNER'S CA"], rows);
}

function readerLines({ state, since, restartAt }: ReportedReader): string[] {
  const states = {
    current: 'uses the CAs of its files',
    pending: 'may not use the CAs of its files yet',
    unknown: 'is not visible to nodecertd',
  } as const;
  return [
    `  ${states[state]}`,
    ...(since === undefined ? [] : [`  the CAs changed at ${formatInstant(since)}`]),
    ...(restartAt === undefined ? [] : [`  nodecertd restarts it at ${formatInstant(restartAt)}`]),
  ];
}

function findingLines({ findings }: TrustReport): string[] {
  return findings.flatMap(({ id, message, remedy }) =>
    adviceLines({ what: `${id}: ${message}`, ...(remedy !== undefined && { remedy }) }),
  );
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  return alignColumns([titles, ...rows]).map((line) => `  ${line}`);
}
