import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant, second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';

/** How the rotation loop fares; judged outside of it, so that one that hangs is seen to. */
export interface Health {
  /** When it last came round; it does so every minute, whatever else waits. */
  readonly lastTick: Instant;
  /** What it hangs in, in a few words; undefined while it comes round. */
  readonly stuckAt: string | undefined;
}

export interface Verdict {
  readonly healthy: boolean;
  /** Lines for people, each ending in a newline. */
  readonly text: string;
}

/** By the count of a watchdog and not by the clock, which may have been set, or have run on over a suspended night. */
export function liveness({ lastTick, stuckAt }: Health): Verdict {
  if (stuckAt === undefined) return { healthy: true, text: 'ok\n' };
  const text = `the rotation loop hangs in ${stuckAt}; it last came round at ${formatInstant(lastTick)}\n`;
  return { healthy: false, text };
}

/** Ready means that every certificate is there and good; an agent without certificates has not read its directory yet. */
export function readiness(status: AgentStatus): Verdict {
  if (status.certificates.length === 0) {
    return { healthy: false, text: 'no certificate is known yet\n' };
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
  return usable ? head : [head, ...missing(certificate, now)].map(oneLine).join('; ');
}

/** What stands between this certificate and being usable, the cause nearest to a person last. */
export function missing(certificate: CertificateStatus, now: Instant): readonly string[] {
  const { current, csr, state, lastFailure, nextAttempt } = certificate;
  const reasons: string[] = [];
  if (current === undefined) reasons.push('there is no certificate');
  else if (now >= current.notAfter) {
    reasons.push(`expired ${formatDuration(now - current.notAfter)} ago`);
  } else if (now < current.notBefore) {
    reasons.push(`not valid before ${formatInstant(current.notBefore)}`);
  } else if (current.selfSigned) reasons.push('only a self-signed stand-in');
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

/** A message of another program may hold line breaks; one certificate is one line. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
