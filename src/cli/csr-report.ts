import { formatInstant } from '../core/instant.ts';
import { subjectOf } from '../pki/renewal/certificate-chain.ts';
import { describeKind } from '../pki/renewal/key-file.ts';
import type { Advice } from '../pki/renewal/renewal-advice.ts';
import type { ExistingCertificate } from '../pki/renewal/existing-certificate.ts';
import type { PlannedRequest, RequestKey } from '../pki/renewal/request-export.ts';
import type { ExitCode } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';
import { adviceLines, section } from './renewal-table.ts';
import { alignColumns, oneLine } from './text.ts';

/** CSRs for an external CA, planned or written. */
export interface CsrReport {
  readonly requests: readonly PlannedRequest[];
  readonly isNamed: boolean;
  readonly isDone: boolean;
}

interface CsrRow {
  readonly name: string;
  readonly state: PlannedRequest['kind'];
  readonly existing?: ExistingCertificate;
  readonly key?: RequestKey;
  readonly file?: string;
  readonly problem?: Advice;
}

function rowsOf({ requests, isNamed }: CsrReport): CsrRow[] {
  return requests.map((planned): CsrRow => {
    switch (planned.kind) {
      case 'request': {
        const { existing, key, file } = planned;
        return { name: existing.entry.name, state: 'request', existing, key, file };
      }
      case 'not-due': {
        const { existing } = planned;
        return { name: existing.entry.name, state: 'not-due', existing };
      }
      case 'missing': {
        const problem = {
          what: `${planned.file} does not exist, but nodecertd creates a CSR from the existing certificate`,
          remedy: `Restore ${planned.file} from a backup`,
        };
        return { name: planned.entry.name, state: 'missing', ...(isNamed && { problem }) };
      }
      case 'refused': {
        const { message, remedy } = planned.failure;
        const problem = { what: message, ...(remedy !== undefined && { remedy }) };
        return { name: planned.entry.name, state: 'refused', problem };
      }
      default:
        return planned satisfies never;
    }
  });
}

/** The table, the reasons, and the next step. */
export function csrTable(report: CsrReport): string {
  const rows = rowsOf(report);
  const problems = rows.flatMap(({ problem }) => problem ?? []);
  return [
    ...alignColumns([
      ['CERTIFICATE', 'EXPIRES', 'KEY', 'CSR'],
      ...rows.map((row) => cells(row, report.isDone)),
    ]),
    ...section('PROBLEMS', problems.flatMap(adviceLines)),
    '',
    ...summary(report, rows),
    '',
  ].join('\n');
}

const words: Readonly<Record<Exclude<CsrRow['state'], 'request'>, string>> = {
  'not-due': 'not due',
  missing: 'missing',
  refused: 'refused',
};

const sources: Readonly<Record<RequestKey['source'], string>> = {
  new: 'new key',
  pending: 'pending key',
  replaced: 'new key, replaces the pending key',
};

function cells({ name, state, existing, key, file = '' }: CsrRow, isDone: boolean): string[] {
  const expires = existing === undefined ? '' : formatInstant(existing.leaf.facts.notAfter);
  if (state !== 'request' || key === undefined) {
    return [name, expires, '', state === 'request' ? '' : words[state]];
  }
  const kind = `${describeKind(key.kind)}, ${sources[key.source]}`;
  return [name, expires, kind, `${oneLine(file)}${isDone ? '' : ' (not written yet)'}`];
}

function summary({ isDone }: CsrReport, rows: readonly CsrRow[]): string[] {
  const count = rows.filter(({ state }) => state === 'request').length;
  if (count === 0) return ['No CSR to create'];
  const csrs = count === 1 ? '1 CSR' : `${count} CSRs`;
  if (!isDone) return [`${csrs} to create; nothing is changed yet`];
  return [
    `${csrs} created. Have the CA sign them with the extensions that they request, and put each`,
    'certificate into a folder as NAME.crt, with its intermediate CAs. Then run:',
    '  nodecertd certs renew --import DIR',
  ];
}

export function csrExitCode(report: CsrReport): ExitCode {
  const hasProblem = rowsOf(report).some(({ problem }) => problem !== undefined);
  return hasProblem ? exitCodes.error : exitCodes.fine;
}

/** The stable form for `-o json` and `-o yaml`. Contains no private key. */
export function csrDocument(report: CsrReport): Record<string, unknown> {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CertificateRequests',
    state: report.isDone ? 'done' : 'planned',
    certificates: rowsOf(report).map(({ name, state, existing, key, file, problem }) => ({
      name,
      state,
      ...(existing && {
        subject: subjectOf(existing.leaf),
        dnsNames: existing.leaf.facts.dnsNames,
        ipAddresses: existing.leaf.facts.ipAddresses,
        usages: existing.leaf.facts.usages,
        notAfter: formatInstant(existing.leaf.facts.notAfter),
      }),
      csr: file,
      ...(key && {
        key: { algorithm: describeKind(key.kind), source: key.source, pending: key.file },
      }),
      reason: problem?.what,
      remedy: problem?.remedy,
    })),
  };
}
