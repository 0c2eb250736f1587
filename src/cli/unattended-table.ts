import type { UnattendedRenewal } from '../core/unattended-renewal.ts';
import { adviceLines, section } from './renewal-table.ts';
import { alignColumns, oneLine } from './text.ts';

/** The outcome of an unattended renewal, for people and for the journal. */
export function unattendedTable(document: UnattendedRenewal): string {
  const { renewed, restarted, problems } = document;
  return [
    ...summary(document),
    ...section(
      'RENEWED',
      alignColumns(renewed.map(({ name, notAfter }) => [`  ${name}`, `expires ${notAfter}`])),
    ),
    ...section(
      'RESTARTED',
      restarted.map(({ component, seconds }) => `  ${component}: healthy after ${seconds}s`),
    ),
    ...section(
      'PROBLEMS',
      problems.flatMap(({ code, reason, remedy }) =>
        adviceLines({
          what: code === undefined ? reason : `${reason} (${code})`,
          ...(remedy !== undefined && { remedy }),
        }),
      ),
    ),
    ...lastLine(document),
    '',
  ].join('\n');
}

function summary({ outcome, reason, code, remedy, withoutLease }: UnattendedRenewal): string[] {
  const what =
    reason === undefined ? headings[outcome] : `${headings[outcome]}: ${oneLine(reason)}`;
  return [
    code === undefined ? what : `${what} (${code})`,
    ...(remedy === undefined ? [] : [`  → ${oneLine(remedy)}`]),
    ...(withoutLease === undefined ? [] : [exceptions[withoutLease]]),
  ];
}

const headings: Readonly<Record<UnattendedRenewal['outcome'], string>> = {
  'not-due': 'No certificate is due',
  renewed: 'Certificates renewed',
  waiting: 'Waiting',
  refused: 'Refused',
  failed: 'Failed',
};

const exceptions: Readonly<Record<NonNullable<UnattendedRenewal['withoutLease']>, string>> = {
  'api-unreachable':
    'Renewed without the Lease: a certificate had expired, and the API server did not answer',
  'others-unhealthy':
    'Renewed although other control-plane nodes are unhealthy: less than 5% of the lifetime was left',
};

function lastLine({ nextDue, retryAfterSeconds }: UnattendedRenewal): string[] {
  if (retryAfterSeconds !== undefined)
    return ['', `Run the command again in ${retryAfterSeconds}s`];
  return nextDue === undefined ? [] : ['', `Next due: ${nextDue.name} at ${nextDue.time}`];
}
