import type { PairFacts } from '../core/certificate.ts';
import type { CsrReference } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { lifetimeStart } from '../core/schedule.ts';
import type { CertificateState, CertificateStatus, HookStatus } from '../core/status.ts';
import type { ExitCode } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';

/** How the pair that readers find is, from best to worst. */
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

/** One certificate as `status` knows it, whether from the agent or from the directory. */
export interface CertificateReport {
  readonly name: string;
  /** The `-current.pem` path. */
  readonly path: string;
  readonly condition: Condition;
  readonly facts?: PairFacts;
  readonly rotationDeadline?: Instant;
  readonly overdue: boolean;
  readonly failure?: Failure;
  /** What only a running agent knows. */
  readonly state?: CertificateState;
  readonly nextAttempt?: Instant;
  readonly csr?: CsrReference;
  readonly hooks?: CertificateStatus['hooks'];
  readonly served?: CertificateStatus['served'];
}

export interface StatusReport {
  readonly source: 'agent' | 'directory';
  /** Why the directory was read although an agent was looked for. */
  readonly note?: string;
  readonly agent?: { readonly version: string; readonly pid: number; readonly startedAt: Instant };
  readonly nodeName: string;
  readonly certificateDirectory: string;
  readonly now: Instant;
  readonly certificates: readonly CertificateReport[];
  /** What the running agent found when it started. */
  readonly preflight?: readonly DoctorFinding[];
}

/** Under this share of the lifetime a certificate counts as expiring. */
const expiringShare = 0.1;

/** The condition of a pair that could be read. */
export function conditionOf(facts: PairFacts, now: Instant, overdue: boolean): Condition {
  if (now >= facts.notAfter) return 'expired';
  if (facts.selfSigned) return 'self-signed';
  if (now < facts.notBefore) return 'not-yet-valid';
  return overdue || lifetimeLeft(facts, now) < expiringShare ? 'expiring' : 'valid';
}

/** The share of the lifetime that is left, from 1 to 0, counted like the rotation deadline. */
export function lifetimeLeft(
  facts: Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt'>,
  now: Instant,
): number {
  const start = lifetimeStart(facts);
  const left = (facts.notAfter - now) / Math.max(facts.notAfter - start, 1);
  return Math.min(Math.max(left, 0), 1);
}

/** The worst certificate decides; a directory without any is as bad as a missing one. */
export function reportExitCode({ certificates }: StatusReport): ExitCode {
  const codes = certificates.map(({ condition }) => {
    if (condition === 'valid') return exitCodes.fine;
    return condition === 'expiring' ? exitCodes.expiring : exitCodes.expired;
  });
  if (codes.length === 0 || codes.includes(exitCodes.expired)) return exitCodes.expired;
  return codes.includes(exitCodes.expiring) ? exitCodes.expiring : exitCodes.fine;
}

/** The stable form for `-o json` and `-o yaml`: moments in RFC 3339, what is unknown left out. */
export function reportDocument(report: StatusReport): Record<string, unknown> {
  const { agent } = report;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'StatusReport',
    source: report.source,
    note: report.note,
    agent: agent && { ...agent, startedAt: formatInstant(agent.startedAt) },
    nodeName: report.nodeName,
    certificateDirectory: report.certificateDirectory,
    now: formatInstant(report.now),
    certificates: report.certificates.map((entry) => certificateDocument(entry, report.now)),
    preflight: report.preflight,
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
