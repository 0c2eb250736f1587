import type { ErrorCode, Failure } from '../core/errors.ts';
import { formatInstant } from '../core/instant.ts';
import { creationCommand } from '../pki/layout.ts';
import { subjectOf } from '../pki/renewal/certificate-chain.ts';
import { describeKind } from '../pki/renewal/key-file.ts';
import type { Advice, RestartAdvice } from '../pki/renewal/renewal-advice.ts';
import {
  adviceFor,
  endsEarlier,
  externalAdvice,
  restartFor,
} from '../pki/renewal/renewal-advice.ts';
import type { RenewalItem } from '../pki/renewal/renewal-item.ts';
import type { PlannedCertificate } from '../pki/renewal/renewal-plan.ts';
import type { RenewalResult, RenewedCertificate } from '../pki/renewal/renewal-run.ts';
import type { RenewalPreview } from '../pki/renewal/renewal.ts';
import type { Restarts } from '../pki/renewal/renewal-restarts.ts';
import { restartOfItem } from '../pki/renewal/renewal-restarts.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';

/** A renewal, planned or done. */
export interface RenewalReport {
  readonly preview: RenewalPreview;
  /** The certificates were named one by one, so a missing one is an error. */
  readonly isNamed: boolean;
  /** The files that programs of this node use; a missing one is an error, too. */
  readonly usedFiles?: ReadonlySet<string>;
  /** Absent for a plan. */
  readonly result?: RenewalResult;
  /** Served certificates were not checked, by request. */
  readonly isUnverified: boolean;
  /** The components that nodecertd restarts by itself. */
  readonly restarts: Restarts;
}

export const renewalExitCodes: ExitCodeMeanings = {
  0: 'done, or nothing to do',
  1: 'a certificate cannot be renewed, or is missing although a program uses it; its renewal failed, and its previous files are in place; or the answer was no',
  2: 'wrong usage',
  3: 'done with a warning: a certificate expires with its CA or earlier than before, belongs to an external CA, was not verified, or a component has to be restarted; with --unattended: waiting for another control-plane node',
};

type CertificateState = PlannedCertificate['kind'] | 'renewed' | 'failed' | 'not-reached';

export interface ReportRow {
  readonly name: string;
  readonly state: CertificateState;
  readonly item?: RenewalItem;
  readonly renewed?: RenewedCertificate;
  readonly problem?: Problem;
}

/** Why a certificate is not renewed, with the code of an error. */
export interface Problem extends Advice {
  readonly code?: ErrorCode;
}

export function rowsOf({ preview, result, isNamed, usedFiles }: RenewalReport): ReportRow[] {
  return preview.certificates.map((planned): ReportRow => {
    switch (planned.kind) {
      case 'renew':
        return renewRow(planned.item, result);
      case 'not-due':
        return { name: planned.item.entry.name, state: 'not-due', item: planned.item };
      case 'external': {
        const { item } = planned;
        return { name: item.entry.name, state: 'external', item, problem: externalAdvice(item) };
      }
      case 'missing': {
        const { entry, file, leftKey } = planned;
        const problem = {
          what: `${file} does not exist`,
          remedy: `Restore it from a backup, or create it, with --config FILE if kubeadm init had it: ${creationCommand(entry.name, leftKey)}`,
        };
        const isNeeded = isNamed || usedFiles?.has(file) === true;
        return { name: entry.name, state: 'missing', ...(isNeeded && { problem }) };
      }
      case 'pending': {
        const { entry, folder } = planned;
        const { name } = entry;
        const problem = {
          what: `${name}: a CSR is pending, and ${folder} has no certificate for it (${name}.crt or ${name}.pem)`,
          remedy: 'Have the CA sign the CSR, and import its certificate',
        };
        return { name, state: 'pending', problem };
      }
      case 'imported':
        return { name: planned.entry.name, state: 'imported' };
      case 'refused': {
        const { entry, failure } = planned;
        return { name: entry.name, state: 'refused', problem: problemOf(failure) };
      }
      default:
        return planned satisfies never;
    }
  });
}

function renewRow(item: RenewalItem, result: RenewalResult | undefined): ReportRow {
  const { name } = item.entry;
  if (result === undefined) return { name, state: 'renew', item };
  const renewed = result.renewed.find((done) => done.item.entry.name === name);
  if (renewed !== undefined) return { name, state: 'renewed', item, renewed };
  if (result.failed?.item.entry.name !== name) return { name, state: 'not-reached', item };
  return { name, state: 'failed', item, problem: problemOf(result.failed.failure) };
}

function problemOf({ code, message, remedy }: Failure): Problem {
  return { code, what: message, ...(remedy !== undefined && { remedy }) };
}

/** Facts about the certificates that are renewed, and what was not verified. */
export function warningsOf(report: RenewalReport): Advice[] {
  const rows = rowsOf(report);
  const unverified = rows.flatMap(({ renewed }): Advice[] => {
    if (renewed?.served?.kind !== 'unverified') return [];
    const { name, reason, remedy } = renewed.served;
    return [{ what: `${name} does not serve the new certificate: ${reason}`, remedy }];
  });
  const skipped = {
    what: 'the endpoints and the control plane were not checked (--no-verify)',
    remedy: 'Check the endpoints: nodecertd certs verify',
  };
  const isSkipped = report.isUnverified && rows.some(({ state }) => state === 'renewed');
  return [
    ...activeItems(rows).flatMap(adviceFor),
    ...unverified,
    ...controlPlaneProblems(report),
    ...(isSkipped ? [skipped] : []),
  ];
}

function controlPlaneProblems({ result }: RenewalReport): readonly Advice[] {
  return result?.controlPlane ?? [];
}

/** The restarts that the administrator has to do. */
export function manualRestartsOf(report: RenewalReport): RestartAdvice[] {
  return activeItems(rowsOf(report))
    .filter((item) => restartOfItem(item, report.restarts) === undefined)
    .flatMap((item) => restartFor(item) ?? []);
}

/** The restarts that nodecertd does: planned, or done with the time that each took. */
export function automaticRestartsOf(
  report: RenewalReport,
): { readonly component: string; readonly by: string; readonly tookMs?: number }[] {
  return rowsOf(report).flatMap(({ state, item, renewed }) => {
    const isActive = state === 'renew' || state === 'renewed';
    const restart = isActive && item ? restartOfItem(item, report.restarts) : undefined;
    if (restart === undefined) return [];
    const { component, by } = restart;
    const how = by.kind === 'unit' ? by.unit : `a new annotation in ${by.path}`;
    return [
      { component, by: how, ...(renewed?.restarted && { tookMs: renewed.restarted.tookMs }) },
    ];
  });
}

function activeItems(rows: readonly ReportRow[]): RenewalItem[] {
  return rows.flatMap(({ state, item }) =>
    item !== undefined && (state === 'renew' || state === 'renewed') ? [item] : [],
  );
}

export function renewalExitCode(report: RenewalReport): ExitCode {
  const rows = rowsOf(report);
  const hasProblem = rows.some(
    ({ state, problem }) =>
      state === 'refused' ||
      state === 'failed' ||
      (state === 'missing' && problem !== undefined) ||
      (state === 'pending' && report.isNamed),
  );
  if (hasProblem) return exitCodes.error;
  const isShortened = activeItems(rows).some(
    (item) => item.validity.wanted !== undefined || endsEarlier(item),
  );
  const isUnchecked =
    report.isUnverified && rows.some(({ state }) => state === 'renewed' || state === 'renew');
  const isUnserved = rows.some(({ renewed }) => renewed?.served?.kind === 'unverified');
  const isNotReady = controlPlaneProblems(report).length > 0;
  const isExternal = rows.some(({ state }) => state === 'external' || state === 'pending');
  const hasRestart = manualRestartsOf(report).length > 0;
  return isShortened || isUnchecked || isUnserved || isNotReady || isExternal || hasRestart
    ? exitCodes.expiring
    : exitCodes.fine;
}

/** The stable form for `-o json` and `-o yaml`. Contains no private key. */
export function renewalDocument(report: RenewalReport): Record<string, unknown> {
  const { result, preview } = report;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CertificateRenewal',
    state: stateOf(report),
    certificates: rowsOf(report).map(rowDocument),
    warnings: warningsOf(report),
    restarts: automaticRestartsOf(report),
    openRestarts: manualRestartsOf(report),
    interruptedRun: preview.interrupted?.folder,
    backup: result?.folder,
  };
}

function stateOf({ result }: RenewalReport): 'planned' | 'done' | 'failed' {
  if (result === undefined) return 'planned';
  return result.failed === undefined ? 'done' : 'failed';
}

function rowDocument({ name, state, item, renewed, problem }: ReportRow): Record<string, unknown> {
  return {
    name,
    state,
    ...(item && {
      files: filesOf(item),
      subject: subjectOf(item.leaf),
      serial: item.leaf.facts.serial,
      notAfter: formatInstant(item.leaf.facts.notAfter),
      ca: {
        file: item.authorityPath,
        subject: subjectOf(item.signer.certificate),
        serial: item.signer.certificate.facts.serial,
        notAfter: formatInstant(item.signer.certificate.facts.notAfter),
        external: item.signer.kind === 'external',
      },
    }),
    ...(item &&
      (state === 'renew' || state === 'renewed') && {
        newNotBefore: formatInstant(item.validity.notBefore),
        newNotAfter: formatInstant(item.validity.notAfter),
        newKey: describeKind(item.key),
        importedFrom: item.issued?.file,
        newSerial: renewed?.certificate.facts.serial,
        served: renewed?.served,
      }),
    code: problem?.code,
    reason: problem?.what,
    remedy: problem?.remedy,
  };
}

/** The files in the order in which they are replaced. */
export function filesOf({ target }: RenewalItem): string[] {
  return target.kind === 'pair'
    ? [...new Set([target.key.path, target.certificate.path])]
    : [target.kubeconfig.path];
}
