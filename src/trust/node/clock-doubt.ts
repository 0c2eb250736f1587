import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import type { ClockSync } from '../../sys/clock-sync.ts';

/**
 * Why the clock of this node may be wrong. A wrong clock makes valid CAs look expired, and must
 * neither drop nor refuse any.
 */
export function clockDoubt(
  trusted: readonly Pick<TrustAuthority, 'notBefore' | 'notAfter' | 'subject'>[],
  { now, sync }: { readonly now: Instant; readonly sync: ClockSync },
): string | undefined {
  const shown = `the clock of this node shows ${formatInstant(now)}`;
  const early = trusted.find(({ notBefore }) => now < notBefore);
  if (early !== undefined) {
    return `${shown}, but the CA ${early.subject} of this node is valid from ${formatInstant(early.notBefore)}`;
  }
  const isExpired = trusted.length > 0 && trusted.every(({ notAfter }) => now >= notAfter);
  if (isExpired && sync !== 'synchronized') {
    return `${shown}, after the end of every CA of this node, and timedatectl does not confirm the clock`;
  }
  if (sync === 'unsynchronized') {
    return 'the clock of this node is not synchronized: timedatectl shows NTPSynchronized=no';
  }
  return undefined;
}

export function clockFinding(doubt: string): TrustFinding {
  return {
    id: 'clock',
    message: `the clock of this node may be wrong, so nodecertd drops no CA: ${doubt}`,
    remedy: 'Start a time service, and check the clock: timedatectl',
  };
}
