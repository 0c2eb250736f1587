import type { Failure } from '../core/errors.ts';
import { hostNameProblem } from '../core/host-name.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import { remedies } from '../core/remedies.ts';
import type { PkiStatus } from '../core/status.ts';
import { describeEndpoint } from '../core/served.ts';
import type { CertificateReport, StatusReport } from './status-report.ts';
import { alignColumns, nextAttemptIn, oneLine, shortSerial } from './text.ts';
import { trustSection } from './trust-section.ts';
import { waitReason } from './wait-reason.ts';

/** The report for people: its source, one row per certificate, and the problems. */
export function statusTable(report: StatusReport): string {
  const { nodeName, certificateDirectory, certificates, pki, trustSync, now } = report;
  const rows = [
    ...certificates.map((entry) => row(entry, now)),
    ...(pki === undefined ? [] : [pkiRow(pki, now)]),
  ];
  const headings = ['CERTIFICATE', 'CONDITION', 'EXPIRES', 'LEFT', 'ROTATION', 'SERIAL'];
  const table = rows.length === 0 ? ['no certificates found'] : alignColumns([headings, ...rows]);
  const lines = [
    `Node ${nodeName} · ${certificateDirectory}`,
    source(report),
    '',
    ...table,
    ...certificates.flatMap((entry) => remarks(entry, now)),
    ...(pki === undefined ? [] : pkiRemarks(pki, now)),
    ...(trustSync === undefined ? [] : trustSection(trustSync, now)),
    ...hostNameLines(report),
    ...(report.kubeconfig === undefined ? [] : ['', ...failedLines('kubelet', report.kubeconfig)]),
    ...trustLines(report),
    ...startFindings(report),
  ];
  return `${lines.map(oneLine).join('\n')}\n`;
}

function source({ agent, note, now }: StatusReport): string {
  if (agent !== undefined) {
    return `From the agent: version ${agent.version}, pid ${agent.pid}, running for ${formatDuration(now - agent.startedAt)}`;
  }
  return `From the directory: ${note ?? 'no agent is running'}`;
}

function row(entry: CertificateReport, now: number): string[] {
  const { name, condition, facts, state } = entry;
  const word =
    state === undefined || state === 'valid' || state === condition
      ? condition
      : `${condition}, ${state}`;
  if (facts === undefined) return [name, word, '-', '-', '-', '-'];
  return [
    name,
    word,
    formatInstant(facts.notAfter),
    formatDuration(facts.notAfter - now),
    rotation(entry, now),
    shortSerial(facts.serial),
  ];
}

function rotation({ rotationDeadline, overdue }: CertificateReport, now: number): string {
  if (rotationDeadline === undefined) return '-';
  if (overdue) return `overdue by ${formatDuration(now - rotationDeadline)}`;
  return dueIn(rotationDeadline, now);
}

function dueIn(moment: number, now: number): string {
  return moment > now ? `in ${formatDuration(moment - now)}` : 'due';
}

/** One row for all control-plane certificates; `certs check-expiration` lists each of them. */
function pkiRow({ directory, state, nextDue }: PkiStatus, now: number): string[] {
  return [directory, state, '-', '-', nextDue === undefined ? '-' : dueIn(nextDue.time, now), '-'];
}

function pkiRemarks(pki: PkiStatus, now: number): string[] {
  const { directory: name, waitsFor, failure, problems, nextCheck } = pki;
  const all = [
    ...(waitsFor === undefined ? [] : [`${name}: ${waitsFor}`]),
    ...failedLines(name, failure),
    ...problems
      .filter(({ reason }) => reason !== failure?.message)
      .flatMap((one) => [`${name}: ${one.name}: ${one.reason}`, ...arrow(one)]),
    ...(pki.hooks ?? []).flatMap((hook) => failedLines(name, hook.failure)),
  ];
  if (all.length === 0) return [];
  const next =
    nextCheck === undefined ? [] : [`${name}: next check in ${formatDuration(nextCheck - now)}`];
  return ['', ...all, ...next];
}

function remarks(entry: CertificateReport, now: number): string[] {
  const { name, failure, nextAttempt } = entry;
  const wait = waitReason(entry, now);
  const waiting = wait === undefined ? [] : [`${name}: ${wait.what}`, ...arrow(wait)];
  const failed = failedLines(name, failure);
  const next = nextAttemptIn(nextAttempt, now);
  const all = [
    ...waiting,
    ...failed,
    ...(next === undefined ? [] : [`${name}: ${next}`]),
    ...postRotation(entry),
  ];
  return all.length === 0 ? [] : ['', ...all];
}

/** Failed hooks, and endpoints that do not serve the new certificate yet. */
function postRotation({ name, hooks = [], served }: CertificateReport): string[] {
  const failed = hooks.flatMap(({ failure }) => failedLines(name, failure));
  const stale = (served?.endpoints ?? []).filter(({ state }) => state !== 'current');
  const shown = stale.map((endpoint) => `${name}: ${describeEndpoint(endpoint)}`);
  const remedy = remedies.SERVED_STALE;
  return [...failed, ...shown, ...(stale.length === 0 ? [] : arrow({ remedy }))];
}

function hostNameLines(report: StatusReport): string[] {
  const problem = hostNameProblem(report);
  return problem === undefined ? [] : ['', problem.message, ...arrow(problem)];
}

/** A certificate that waits for the same lookup of the Node already shows the failure. */
function trustLines({ trust, certificates }: StatusReport): string[] {
  const isShown = certificates.some(({ failure }) => failure?.message === trust?.message);
  return trust === undefined || isShown ? [] : ['', ...failedLines('API server', trust)];
}

function failedLines(name: string, failure: Failure | undefined): string[] {
  if (failure === undefined) return [];
  return [`${name}: ${failure.message} (${failure.code})`, ...arrow(failure)];
}

function arrow({ remedy }: { readonly remedy?: string }): string[] {
  return remedy === undefined ? [] : [`  → ${remedy}`];
}

/** Errors and warnings from the start of the agent; they may have been fixed by now. */
function startFindings({ preflight = [] }: StatusReport): string[] {
  const serious = preflight.filter(
    ({ severity }) => severity === 'error' || severity === 'warning',
  );
  if (serious.length === 0) return [];
  return [
    '',
    'Findings at the start of the agent (check again with: nodecertd doctor):',
    ...serious.flatMap(({ severity, what, remedy }) => [
      `${severity}: ${what}`,
      ...(remedy === undefined ? [] : [`  → ${remedy}`]),
    ]),
  ];
}
