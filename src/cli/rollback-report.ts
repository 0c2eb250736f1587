import { formatInstant } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { RollbackPreview } from '../pki/renewal.ts';
import { nameOf, restoredEnd } from '../pki/renewal.ts';
import type { Run } from '../store/run-manifest.ts';
import { alignColumns, oneLine } from './text.ts';

/** A rollback, planned or done. */
export interface RollbackReport {
  readonly preview: RollbackPreview;
  /** The restored certificates that have expired already. */
  readonly expired: readonly { readonly path: string; readonly notAfter: Instant }[];
  readonly isDone: boolean;
}

export async function reportOn(
  preview: RollbackPreview,
  { now, isDone }: { readonly now: Instant; readonly isDone: boolean },
): Promise<RollbackReport> {
  const ends = await Promise.all(
    preview.files.map(async (file) => ({ path: file.path, notAfter: await restoredEnd(file) })),
  );
  const expired = ends.flatMap(({ path, notAfter }) =>
    notAfter !== undefined && notAfter <= now ? [{ path, notAfter }] : [],
  );
  return { preview, expired, isDone };
}

/** The stable form for `-o json` and `-o yaml`. */
export function rollbackDocument({
  preview,
  expired,
  isDone,
}: RollbackReport): Record<string, unknown> {
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
      'FILES TO RESTORE',
      files.filter(({ kind }) => kind !== 'done').map(({ path }) => `  ${oneLine(path)}`),
    ),
    ...section('WARNINGS', [
      ...changed.map(({ path }) => `  another program changed ${oneLine(path)} after the renewal`),
      ...report.expired.map(
        ({ path, notAfter }) =>
          `  the previous certificate of ${oneLine(path)} expired at ${formatInstant(notAfter)}`,
      ),
    ]),
    '',
    report.isDone
      ? `The files are as they were before the renewal ${nameOf(target.folder)}`
      : `Restores the files of before the renewal ${nameOf(target.folder)}`,
    '',
  ].join('\n');
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', heading, ...lines];
}

function certificatesOf({ manifest }: Run): string[] {
  return [...new Set(manifest.changes.flatMap(({ item }) => item ?? []))];
}
