import { styleText } from 'node:util';
import type { DoctorFinding, Severity } from '../core/findings.ts';
import { countBySeverity } from '../core/findings.ts';
import type { DoctorReport } from './doctor-report.ts';
import { grouped } from './doctor-report.ts';
import { fit, oneLine } from './text.ts';

/** From the sixteen colors that every terminal theme defines. */
const tones = {
  error: 'red',
  warning: 'yellow',
  info: 'cyan',
  ok: 'green',
} as const satisfies Readonly<Record<Severity, string>>;

/** The report for people: under each heading the findings, why they matter, and what to do. */
export function doctorTable(report: DoctorReport, color: boolean): string {
  const paint = (tone: (typeof tones)[Severity] | 'bold', text: string): string =>
    // The caller has checked the stream; styleText would check process.stdout.
    color ? styleText(tone, text, { validateStream: false }) : text;
  const sections = grouped(report.findings).flatMap(([group, findings]) => [
    '',
    paint('bold', group.toUpperCase()),
    ...findings.flatMap((finding) => lines(finding, paint)),
  ]);
  const { nodeName, certificateDirectory } = report;
  const head = oneLine(`Node ${nodeName} · ${certificateDirectory}`);
  return `${[head, addressee(report), ...sections, '', summary(report)].join('\n')}\n`;
}

type Paint = (tone: (typeof tones)[Severity] | 'bold', text: string) => string;

function lines({ id, severity, what, why, remedy }: DoctorFinding, paint: Paint): string[] {
  const word = paint(tones[severity], fit(severity, severityWidth));
  const head = `  ${word}  ${oneLine(what)}`;
  if (severity === 'ok') return [head];
  return [
    `${head} (${id})`,
    ...(why === undefined ? [] : [`${indent}${oneLine(why)}`]),
    ...(remedy === undefined ? [] : [`${indent}→ ${oneLine(remedy)}`]),
  ];
}

const severityWidth = 'warning'.length;
const indent = ' '.repeat(2 + severityWidth + 2);

function addressee({ server, username }: DoctorReport): string {
  if (server === undefined) return 'Not connected to the API server';
  return oneLine(
    username === undefined ? `Connected to ${server}` : `Connected to ${server} as ${username}`,
  );
}

function summary({ findings }: DoctorReport): string {
  const { error, warning, info, ok } = countBySeverity(findings);
  return [
    ...counted(error, 'error', 'errors'),
    ...counted(warning, 'warning', 'warnings'),
    ...counted(info, 'note', 'notes'),
    ...counted(ok, 'check passed', 'checks passed'),
  ].join(', ');
}

function counted(count: number, one: string, more: string): string[] {
  return count === 0 ? [] : [`${count} ${count === 1 ? one : more}`];
}
