import type { Instant } from './instant.ts';
import { formatDuration } from './instant.ts';
import type { TrustStatus } from './status.ts';
import type { ReportedReader, TrustFinding, TrustReport } from './trust-report.ts';

/** A sentence about the trust of a node. */
export interface TrustRemark {
  readonly what: string;
  readonly remedy?: string;
  /** False for a step of a rollover that needs no administrator. */
  readonly isProblem: boolean;
}

/** Everything that an administrator has to know, the problems first. */
export function trustRemarks(trust: TrustStatus, now: Instant): readonly TrustRemark[] {
  const { failure, waitsFor, report } = trust;
  const remarks = [
    ...(failure === undefined ? [] : [problem(`${failure.message} (${failure.code})`, failure)]),
    ...(report === undefined ? [] : reportRemarks(report)),
    ...(waitsFor === undefined ? [] : [step(waitsFor)]),
    ...agentRemarks(trust, now),
  ];
  const once = remarks.filter(
    ({ what }, index) => remarks.findIndex((one) => one.what === what) === index,
  );
  return [...once.filter(({ isProblem }) => isProblem), ...once.filter((one) => !one.isProblem)];
}

/** What only the running agent knows. */
export function agentRemarks({ hooks = [], reissues }: TrustStatus, now: Instant): TrustRemark[] {
  return [
    ...hooks.flatMap(({ failure }) =>
      failure === undefined ? [] : [problem(failure.message, failure)],
    ),
    ...reissues.map((reissue) => step(describeReissue(reissue, now))),
  ];
}

function reportRemarks({ findings, places, sources, reader }: TrustReport): TrustRemark[] {
  return [
    ...findings.map((finding) => {
      const { message: what, remedy } = finding;
      const isProblem = !isStep(finding, reader);
      return { what, ...(remedy !== undefined && { remedy }), isProblem };
    }),
    ...places.flatMap(({ path, isKept, problem: reason }) =>
      reason === undefined || isKept ? [] : [problem(`${path}: ${reason}`)],
    ),
    ...sources.flatMap(({ name, outcome, reason }) =>
      outcome === 'failed' ? [problem(`${name} cannot be read: ${reason ?? 'unknown error'}`)] : [],
    ),
  ];
}

/** True for a finding about a step of a CA rollover that goes on by itself. */
export function isStep(
  { id, remedy }: TrustFinding,
  { restartAt }: Pick<ReportedReader, 'restartAt'>,
): boolean {
  if (id === 'ca_kept' || id === 'ca_droppable') return true;
  return id === 'reader_pending' && (restartAt !== undefined || remedy === 'Do nothing');
}

function describeReissue(reissue: TrustStatus['reissues'][number], now: Instant): string {
  const { name, kind } = reissue;
  const behind = `${name} was not issued by the CA that its signer uses now`;
  switch (kind) {
    case 'held':
      return `${behind}; trust.holdServing postpones its renewal`;
    case 'scheduled':
      return `${behind}; nodecertd requests another certificate ${inOrNow(reissue.at, now)}`;
    case 'waiting-for-signer':
      return `${name}: the signer used the old CA again; next attempt ${inOrNow(reissue.at, now)}`;
    default:
      return reissue satisfies never;
  }
}

function inOrNow(moment: Instant, now: Instant): string {
  return moment > now ? `in ${formatDuration(moment - now)}` : 'now';
}

function problem(what: string, { remedy }: { readonly remedy?: string } = {}): TrustRemark {
  return { what, ...(remedy !== undefined && { remedy }), isProblem: true };
}

function step(what: string): TrustRemark {
  return { what, isProblem: false };
}
