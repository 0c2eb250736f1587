import type { Instant } from '../core/instant.ts';
import { formatDuration } from '../core/instant.ts';
import type { TrustStatus } from '../core/status.ts';
import { agentRemarks } from '../core/trust-remarks.ts';
import { adviceLines, section } from './renewal-table.ts';
import { trustTable } from './trust-table.ts';

/** The lines of `status` about the CAs that this node trusts. */
export function trustSection(trust: TrustStatus, now: Instant): readonly string[] {
  const { state, report, nextCheck, failure } = trust;
  const next = nextCheck === undefined ? '' : `, next check in ${formatDuration(nextCheck - now)}`;
  const table = report === undefined ? [] : trustTable(report, now).trimEnd().split('\n');
  const ofCommand =
    failure === undefined || isShown(trust)
      ? []
      : adviceLines({ ...failure, what: `${failure.message} (${failure.code})` });
  const remarks = [...ofCommand, ...agentRemarks(trust, now).flatMap(adviceLines)];
  return ['', `Trusted CAs: ${state}${next}`, ...table, ...section('AGENT', remarks)];
}

/** False if the command itself failed, so that the report is an earlier one. */
function isShown({ report, failure }: TrustStatus): boolean {
  const shown = report?.refusal ?? report?.failure;
  return shown?.message === failure?.message;
}
