import type { PairFacts } from '../core/certificate.ts';
import type { CsrReference } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { lifetimeStart } from '../core/schedule.ts';
import type {
  CertificateState,
  CertificateStatus,
  HookStatus,
  PkiStatus,
  TrustStatus,
} from '../core/status.ts';
import { trustDocument } from '../core/trust-document.ts';
import { without } from '../core/without.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { commonExitCodes, exitCodes } from './exit-code.ts';

/** The condition of the certificate behind the `-current.pem` link, from best to worst. */
export const conditions = [
  'valid',
  'expiring',
  'not-yet-valid',
  'self-signed',
  'expired',
  'invalid',
  'missing',
] as const;
export type Condition = (typeof conditions)[number];

/** One certificate in the output of `status`, read from the agent or from the directory. */
export interface CertificateReport {
  readonly name: string;
  /** The `-current.pem` path. */
  readonly path: string;
  readonly condition: Condition;
  readonly facts?: PairFacts;
  readonly rotationDeadline?: Instant;
  readonly overdue: boolean;
  readonly failure?: Failure;
  /** This and the following fields are known to a running agent only. */
  readonly state?: CertificateState;
  readonly signerName?: string;
  readonly nextAttempt?: Instant;
  readonly csr?: CsrReference;
  readonly hooks?: CertificateStatus['hooks'];
  readonly served?: CertificateStatus['served'];
}

export interface StatusReport {
  readonly source: 'agent' | 'directory';
  /** Why `status` read the directory instead of asking the agent. */
  readonly note?: string;
  readonly agent?: { readonly version: string; readonly pid: number; readonly startedAt: Instant };
  readonly nodeName: string;
  /** Why the agent requests nothing yet. */
  readonly placeholderHostName?: string;
  readonly certificateDirectory: string;
  readonly now: Instant;
  readonly certificates: readonly CertificateReport[];
  /** Why the kubelet cannot use the kubeconfig. */
  readonly kubeconfig?: Failure;
  /** Why the running agent cannot verify the API server. */
  readonly trust?: Failure;
  /** Findings of the running agent at its start. */
  readonly preflight?: readonly DoctorFinding[];
  /** The renewal of control-plane certificates, if the running agent does it. */
  readonly pki?: PkiStatus;
  /** The CAs that this node trusts, if the running agent keeps them. */
  readonly trustSync?: TrustStatus;
}

/** A certificate with less than this share of its lifetime left counts as expiring. */
const expiringShare = 0.1;

/** The condition of a readable certificate. */
export function conditionOf(facts: PairFacts, now: Instant, overdue: boolean): Condition {
  if (now >= facts.notAfter) return 'expired';
  if (facts.selfSigned) return 'self-signed';
  if (now < facts.notBefore) return 'not-yet-valid';
  return overdue || lifetimeLeft(facts, now) < expiringShare ? 'expiring' : 'valid';
}

/** The share of the lifetime that is left, from 1 to 0, computed as for the rotation deadline. */
export function lifetimeLeft(
  facts: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  now: Instant,
): number {
  const start = lifetimeStart(facts);
  const left = (facts.notAfter - now) / Math.max(facts.notAfter - start, 1);
  return Math.min(Math.max(left, 0), 1);
}

export const statusExitCodes: ExitCodeMeanings = {
  ...commonExitCodes,
  0: 'every certificate is valid',
  3: 'a certificate has less than 10% of its lifetime left, its rotation is overdue, or the unattended renewal or the check of the trusted CAs failed',
  4: 'a certificate is expired, invalid, missing, self-signed, or not valid yet',
};

/** The worst certificate decides. A directory without certificates counts as a missing certificate. */
export function reportExitCode({ certificates, pki, trustSync }: StatusReport): ExitCode {
  const codes = certificates.map(({ condition }) => {
    if (condition === 'valid') return exitCodes.fine;
    return condition === 'expiring' ? exitCodes.expiring : exitCodes.expired;
  });
  if (codes.length === 0 || codes.includes(exitCodes.expired)) return exitCodes.expired;
  const hasFailed = pki?.failure !== undefined || trustSync?.failure !== undefined;
  const isDelayed = codes.includes(exitCodes.expiring) || hasFailed;
  return isDelayed ? exitCodes.expiring : exitCodes.fine;
}

/** The stable form for `-o json` and `-o yaml`: times in RFC 3339, unknown values left out. */
export function reportDocument(report: StatusReport): Record<string, unknown> {
  const { agent } = report;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'StatusReport',
    source: report.source,
    note: report.note,
    agent: agent && { ...agent, startedAt: formatInstant(agent.startedAt) },
    nodeName: report.nodeName,
    placeholderHostName: report.placeholderHostName,
    certificateDirectory: report.certificateDirectory,
    now: formatInstant(report.now),
    certificates: report.certificates.map((entry) => certificateDocument(entry, report.now)),
    kubeconfig: report.kubeconfig,
    trust: report.trust,
    preflight: report.preflight,
    pki: report.pki && pkiDocument(report.pki),
    trustSync: report.trustSync && trustSyncDocument(report.trustSync),
  };
}

function pkiDocument(pki: PkiStatus): Record<string, unknown> {
  const { failure, nextDue, lastWithoutLease } = pki;
  return {
    directory: pki.directory,
    state: pki.state,
    since: formatInstant(pki.since),
    waitsFor: pki.waitsFor,
    failure: failure && { ...failure, at: formatInstant(failure.at) },
    problems: pki.problems,
    nextDue: nextDue && { ...nextDue, time: formatInstant(nextDue.time) },
    lastSuccess: optionalInstant(pki.lastSuccess),
    lastWithoutLease: lastWithoutLease && {
      ...lastWithoutLease,
      at: formatInstant(lastWithoutLease.at),
    },
    nextCheck: optionalInstant(pki.nextCheck),
    hooks: pki.hooks?.map(hookDocument),
  };
}

function trustSyncDocument(trust: TrustStatus): Record<string, unknown> {
  const { report, failure } = trust;
  return {
    state: trust.state,
    since: formatInstant(trust.since),
    waitsFor: trust.waitsFor,
    failure: failure && { ...failure, at: formatInstant(failure.at) },
    report: report && without(without(trustDocument(report), 'apiVersion'), 'kind'),
    reissues: trust.reissues.map((one) =>
      one.kind === 'held' ? one : { ...one, at: formatInstant(one.at) },
    ),
    nextCheck: optionalInstant(trust.nextCheck),
    hooks: trust.hooks?.map(hookDocument),
  };
}

function certificateDocument(entry: CertificateReport, now: Instant): Record<string, unknown> {
  const { facts, csr } = entry;
  return {
    name: entry.name,
    path: entry.path,
    condition: entry.condition,
    state: entry.state,
    overdue: entry.overdue,
    ...(facts !== undefined && {
      file: facts.path,
      serial: facts.serial,
      subject: facts.subject,
      issuer: facts.issuer,
      dnsNames: facts.dnsNames,
      ipAddresses: facts.ipAddresses,
      usages: facts.usages,
      notBefore: formatInstant(facts.notBefore),
      notAfter: formatInstant(facts.notAfter),
      secondsLeft: Math.floor((facts.notAfter - now) / 1_000),
      lifetimeLeft: Math.round(lifetimeLeft(facts, now) * 1_000) / 1_000,
    }),
    rotationDeadline: optionalInstant(entry.rotationDeadline),
    nextAttempt: optionalInstant(entry.nextAttempt),
    csr: csr && { ...csr, createdAt: formatInstant(csr.createdAt) },
    failure: entry.failure,
    hooks: entry.hooks?.map(hookDocument),
    served: entry.served && { ...entry.served, at: formatInstant(entry.served.at) },
  };
}

function hookDocument({ name, succeededAt, failure }: HookStatus): Record<string, unknown> {
  return {
    name,
    succeededAt: optionalInstant(succeededAt),
    failure: failure && { ...failure, at: formatInstant(failure.at) },
  };
}

function optionalInstant(instant: Instant | undefined): string | undefined {
  return instant === undefined ? undefined : formatInstant(instant);
}
