import { formatDuration, formatInstant } from '../core/instant.ts';
import { describeKind } from '../pki/renewal/key-file.ts';
import type { Advice } from '../pki/renewal/renewal-advice.ts';
import { nameOf } from '../pki/renewal/renewal.ts';
import type { Problem, RenewalReport, ReportRow } from './renewal-report.ts';
import {
  filesOf,
  automaticRestartsOf,
  manualRestartsOf,
  rowsOf,
  warningsOf,
} from './renewal-report.ts';
import { alignColumns, oneLine } from './text.ts';

const words: Readonly<Record<ReportRow['state'], string>> = {
  renew: 'renew',
  external: 'external CA',
  'not-due': 'not due',
  missing: 'missing',
  pending: 'CSR pending',
  imported: 'already imported',
  refused: 'refused',
  renewed: 'renewed',
  failed: 'failed',
  'not-reached': 'not reached',
};

/** The plan, or the result, as text. */
export function renewalTable(report: RenewalReport): string {
  const rows = rowsOf(report);
  const problems = rows.flatMap(({ problem }) => problem ?? []);
  return [
    ...alignColumns([
      ['CERTIFICATE', 'STATE', 'EXPIRES', 'NEW EXPIRY', 'NEW KEY', 'CA'],
      ...rows.map(cells),
    ]),
    ...section('FILES', fileLines(rows)),
    ...section('PROBLEMS', problems.flatMap(problemLines)),
    ...section('WARNINGS', warningsOf(report).flatMap(adviceLines)),
    ...section('RESTARTS', automaticRestartsOf(report).map(restartLine)),
    ...section(
      'RESTART BY HAND',
      manualRestartsOf(report).flatMap(({ why, remedy }) => adviceLines({ what: why, remedy })),
    ),
    '',
    summary(report, rows),
    '',
  ].join('\n');
}

function cells({ name, state, item }: ReportRow): string[] {
  if (item === undefined) return [name, words[state], '', '', '', ''];
  const isNew = state === 'renew' || state === 'renewed';
  return [
    name,
    words[state],
    formatInstant(item.leaf.facts.notAfter),
    isNew ? formatInstant(item.validity.notAfter) : '',
    isNew ? describeKind(item.key) : '',
    item.authorityPath,
  ];
}

function fileLines(rows: readonly ReportRow[]): string[] {
  return rows.flatMap(({ state, item }) =>
    item !== undefined && (state === 'renew' || state === 'renewed')
      ? filesOf(item).map((file) => `  ${oneLine(file)}`)
      : [],
  );
}

function problemLines({ code, what, ...problem }: Problem): string[] {
  return adviceLines({ ...problem, what: code === undefined ? what : `${what} (${code})` });
}

export function adviceLines({ what, remedy }: Advice): string[] {
  return [`  ${oneLine(what)}`, ...(remedy === undefined ? [] : [`    → ${oneLine(remedy)}`])];
}

function restartLine({
  component,
  by,
  tookMs,
}: ReturnType<typeof automaticRestartsOf>[number]): string {
  return tookMs === undefined
    ? `  ${component}: ${oneLine(by)}`
    : `  ${component}: ${oneLine(by)}; healthy after ${formatDuration(tookMs)}`;
}

export function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', heading, ...lines];
}

function summary({ preview, result }: RenewalReport, rows: readonly ReportRow[]): string {
  const count = (state: ReportRow['state']): number =>
    rows.filter((row) => row.state === state).length;
  if (result === undefined) {
    const planned = count('renew');
    const first =
      preview.interrupted === undefined
        ? ''
        : `An interrupted run (${nameOf(preview.interrupted.folder)}) is completed or undone first. `;
    return `${first}${planned === 0 ? 'Nothing to renew' : `${certificates(planned)} to renew; nothing is changed yet`}`;
  }
  const renewed = count('renewed');
  if (renewed === 0) return 'No certificate was renewed';
  const copies =
    result.folder === undefined
      ? ''
      : `. The previous files are in ${result.folder}; restore them: nodecertd certs rollback`;
  return `${certificates(renewed)} renewed${copies}`;
}

function certificates(count: number): string {
  return count === 1 ? '1 certificate' : `${count} certificates`;
}
