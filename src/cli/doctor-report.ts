import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { countBySeverity, findingGroups, groupOf } from '../core/findings.ts';
import type { DoctorResult } from '../doctor/run.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';

export interface DoctorReport extends DoctorResult {
  readonly nodeName: string;
  readonly certificateDirectory: string;
  readonly now: Instant;
}

export const doctorExitCodeMeanings: ExitCodeMeanings = {
  0: 'no warnings and no errors',
  1: 'the doctor itself failed, for example because the configuration is invalid',
  2: 'wrong usage',
  3: 'warnings: something will fail later, or a check failed',
  4: 'errors: something prevents certificates from being issued or used now',
};

/** On the scale of `status`: 3 needs attention soon, 4 needs attention now. */
export function doctorExitCode({ findings }: Pick<DoctorReport, 'findings'>): ExitCode {
  const { error, warning } = countBySeverity(findings);
  if (error > 0) return exitCodes.expired;
  return warning > 0 ? exitCodes.expiring : exitCodes.fine;
}

/** Grouped by heading, the worst finding first under each. */
export function grouped(
  findings: readonly DoctorFinding[],
): (readonly [string, readonly DoctorFinding[]])[] {
  const order = ['error', 'warning', 'info', 'ok'];
  return Object.keys(findingGroups).flatMap((group) => {
    const members = findings.filter(({ id }) => groupOf(id) === group);
    const sorted = members.toSorted(
      (a, b) => order.indexOf(a.severity) - order.indexOf(b.severity),
    );
    return sorted.length === 0 ? [] : [[group, sorted] as const];
  });
}

/** The stable form for `-o json` and `-o yaml`. */
export function doctorDocument(report: DoctorReport): Record<string, unknown> {
  const { findings, server, username } = report;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'DoctorReport',
    nodeName: report.nodeName,
    certificateDirectory: report.certificateDirectory,
    server,
    username,
    now: formatInstant(report.now),
    counts: countBySeverity(findings),
    findings: grouped(findings).flatMap(([group, members]) =>
      members.map((finding) => ({ group, ...finding })),
    ),
  };
}
