import { hostNameProblem } from '../core/host-name.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant, second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';

/** The health of the rotation loop, judged outside the loop so that a hung loop is noticed. */
export interface Health {
  /** When the loop last ran. It runs every minute, no matter what else is waiting. */
  readonly lastTick: Instant;
  /** The step in which the loop hangs; undefined while it runs. */
  readonly stuckAt: string | undefined;
}

export interface Verdict {
  readonly healthy: boolean;
  /** Lines for people, each ending in a newline. */
  readonly text: string;
}

/** Relies on the watchdog's count of rounds, because the clock may have been set or the machine suspended. */
export function liveness({ lastTick, stuckAt }: Health): Verdict {
  if (stuckAt === undefined) return { healthy: true, text: 'ok\n' };
  const text = `the rotation loop hangs in ${stuckAt}; it last ran at ${formatInstant(lastTick)}\n`;
  return { healthy: false, text };
}

/** Ready means that every certificate is usable. An agent without certificates has not read its directory yet. */
export function readiness(status: AgentStatus): Verdict {
  const missing = hostNameProblem(status);
  if (missing !== undefined) return { healthy: false, text: `${missing.message}\n` };
  if (status.certificates.length === 0) {
    return { healthy: false, text: 'the certificate directory has not been read yet\n' };
  }
  return {
    healthy: status.certificates.every((certificate) => certificate.usable),
    text: status.certificates.map((one) => `${readinessLine(one, status.now)}\n`).join(''),
  };
}

function readinessLine(certificate: CertificateStatus, now: Instant): string {
  const { name, state, since, usable } = certificate;
  const age = formatDuration(now - since);
  const head = `${name}: ${usable ? 'ready' : 'NOT READY'}, ${state} since ${formatInstant(since)} (${age})`;
  return usable ? head : [head, ...problems(certificate, now)].map(oneLine).join('; ');
}

/** Why the certificate is not usable or not renewed, with the remedy and the next attempt at the end. */
export function problems(certificate: CertificateStatus, now: Instant): readonly string[] {
  const { current, csr, state, lastFailure, nextAttempt } = certificate;
  const reasons: string[] = [];
  if (current === undefined) reasons.push('there is no certificate');
  else if (now >= current.notAfter) {
    reasons.push(`expired ${formatDuration(now - current.notAfter)} ago`);
  } else if (now < current.notBefore) {
    reasons.push(`not valid before ${formatInstant(current.notBefore)}`);
  } else if (current.selfSigned) reasons.push('only a temporary self-signed certificate');
  if (csr !== undefined && state === 'pending-approval') {
    reasons.push(`approve with: kubectl certificate approve ${csr.name}`);
  }
  if (lastFailure !== undefined) {
    reasons.push(`last failure ${lastFailure.code}: ${lastFailure.message}`);
    if (lastFailure.remedy !== undefined) reasons.push(`remedy: ${lastFailure.remedy}`);
  }
  if (nextAttempt !== undefined && nextAttempt > now) {
    reasons.push(`next attempt in ${formatDuration(Math.max(nextAttempt - now, second))}`);
  }
  return reasons;
}

/** Messages from other programs may contain line breaks; each certificate gets one line. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
