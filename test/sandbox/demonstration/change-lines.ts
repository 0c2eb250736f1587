import { formatDuration } from '../../../src/core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../../../src/core/status.ts';
import { timeOfDay } from './live-table.ts';
import { nextAttemptIn, oneLine, shortSerial } from '../../../src/cli/text.ts';

/**
 * Returns a line for each certificate whose state has changed. It replaces the live
 * table in pipes and files. Passing time is not a change, so no line is repeated.
 */
export function changeLines(before: AgentStatus | undefined, after: AgentStatus): string[] {
  const known = new Map(before?.certificates.map((entry) => [entry.name, fingerprint(entry)]));
  return after.certificates
    .filter((entry) => known.get(entry.name) !== fingerprint(entry))
    .map((entry) => `${timeOfDay(after.now)} ${entry.name}: ${describe(entry, after.now)}`);
}

/** The values that make a line worth printing, without those that change with time. */
function fingerprint({ state, current, csr, lastFailure, overdue }: CertificateStatus): string {
  return JSON.stringify([state, current?.serial, csr?.name, lastFailure?.at, overdue]);
}

function describe(entry: CertificateStatus, now: number): string {
  const { state, overdue, current, rotationDeadline, csr, lastFailure, nextAttempt } = entry;
  const parts = [overdue ? `${state}, overdue` : state];
  if (csr !== undefined) parts.push(`request ${csr.name}`);
  if (current !== undefined) {
    parts.push(current.selfSigned ? 'self-signed' : `serial ${shortSerial(current.serial)}`);
    const left = current.notAfter - now;
    parts.push(left > 0 ? `expires in ${formatDuration(left)}` : 'expired');
  }
  if (rotationDeadline !== undefined && rotationDeadline > now) {
    parts.push(`rotation in ${formatDuration(rotationDeadline - now)}`);
  }
  if (state === 'backing-off' && lastFailure !== undefined) {
    parts.push(`${lastFailure.code}: ${lastFailure.message}`);
    const next = nextAttemptIn(nextAttempt, now);
    if (next !== undefined) parts.push(next);
  }
  return oneLine(parts.join(', '));
}
