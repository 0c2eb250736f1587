import { formatDuration, formatInstant } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { RollbackPreview } from '../pki/renewal/renewal.ts';
import { certificatesOf, nameOf } from '../pki/renewal/renewal.ts';
import type { RestartedComponent, Restarts } from '../pki/renewal/renewal-restarts.ts';
import { restartRemedy } from '../pki/renewal/renewal-advice.ts';
import { componentToRestart } from '../pki/renewal/renewal-restarts.ts';
import { alignColumns, oneLine } from './text.ts';

/** A rollback, planned or done. */
export interface RollbackReport {
  readonly preview: RollbackPreview;
  /** The restored certificates that have expired already. */
  readonly expired: readonly { readonly path: string; readonly notAfter: Instant }[];
  readonly isDone: boolean;
  /** The components that nodecertd restarts by itself. */
  readonly restarts: Restarts;
  /** Empty before it is done. */
  readonly restarted: readonly RestartedComponent[];
}

export function reportOn(
  preview: RollbackPreview,
  { now, ...rest }: { readonly now: Instant } & Omit<RollbackReport, 'preview' | 'expired'>,
): RollbackReport {
  const expired = preview.files.flatMap(({ path, notAfter }) =>
    notAfter !== undefined && notAfter <= now ? [{ path, notAfter }] : [],
  );
  return { preview, expired, ...rest };
}

/** The stable form for `-o json` and `-o yaml`. */
export function rollbackDocument(report: RollbackReport): Record<string, unknown> {
  const { preview, expired, isDone, restarted } = report;
  const { runs, target, files } = preview;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CertificateRollback',
    state: target === undefined ? 'nothing-to-do' : isDone ? 'done' : 'planned',
    renewals: runs.map((run) => ({
      time: nameOf(run.folder),
      state: run.manifest.state,
      certificates: certificatesOf(run),
      folder: run.folder,
    })),
    target: target && nameOf(target.folder),
    files: files.map(({ path, kind }) => ({ path, state: kind })),
    restarts: isDone ? restarted : automaticRestarts(report).map((component) => ({ component })),
    openRestarts: manualRestarts(report).map((component) => ({ component })),
    expired: expired.map(({ path, notAfter }) => ({ path, notAfter: formatInstant(notAfter) })),
  };
}

export function rollbackTable(report: RollbackReport): string {
  const { runs, target, files } = report.preview;
  if (target === undefined) return 'There is no renewal to roll back\n';
  const changed = files.filter(({ kind }) => kind === 'changed-since');
  return [
    ...alignColumns([
      ['RENEWAL', 'STATE', 'CERTIFICATES'],
      ...runs.map((run) => [
        nameOf(run.folder),
        run.manifest.state === 'applied' ? 'complete' : 'interrupted',
        certificatesOf(run).join(', '),
      ]),
    ]),
    ...section(
      report.isDone ? 'RESTORED FILES' : 'FILES TO RESTORE',
      files.filter(({ kind }) => kind !== 'done').map(({ path }) => `  ${oneLine(path)}`),
    ),
    ...section('WARNINGS', [
      ...changed.map(({ path }) => `  another program changed ${oneLine(path)} after the renewal`),
      ...report.expired.map(
        ({ path, notAfter }) =>
          `  the previous certificate of ${oneLine(path)} expired at ${formatInstant(notAfter)}`,
      ),
    ]),
    ...section('RESTARTS', restartLines(report)),
    ...section(
      'RESTART BY HAND',
      manualRestarts(report).flatMap((component) => [
        `  ${component} reads its certificate only when it starts`,
        `    → ${restartRemedy(component)}`,
      ]),
    ),
    '',
    report.isDone
      ? `The files from before the renewal ${nameOf(target.folder)} are restored`
      : `Restores the files from before the renewal ${nameOf(target.folder)}; nothing is changed yet`,
    '',
  ].join('\n');
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', heading, ...lines];
}

function restartLines(report: RollbackReport): string[] {
  const { isDone, restarted } = report;
  if (!isDone) return automaticRestarts(report).map((component) => `  ${component}`);
  return restarted.map(
    ({ component, tookMs }) => `  ${component}: healthy after ${formatDuration(tookMs)}`,
  );
}

function automaticRestarts({ preview, restarts }: RollbackReport): string[] {
  return componentsOf(preview).filter((component) => restarts.has(component));
}

export function manualRestarts({ preview, restarts }: RollbackReport): string[] {
  return componentsOf(preview).filter((component) => !restarts.has(component));
}

function componentsOf({ certificates }: RollbackPreview): string[] {
  return certificates.flatMap((name) => componentToRestart(name) ?? []);
}
