import type { Instant } from '../../core/instant.ts';
import { formatInstant, hour } from '../../core/instant.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { RolledBack, TrustMemory } from './trust-memory.ts';

/** The kubelet did not stay up with these CAs, and the previous ones are in place. */
export function withRollback(
  memory: TrustMemory,
  authorities: readonly string[],
  now: Instant,
): TrustMemory {
  const { rolledBack } = memory;
  const isAgain = rolledBack !== undefined && isSame(rolledBack, authorities);
  return {
    ...memory,
    changedAt: now,
    rolledBack: { at: now, authorities, count: isAgain ? rolledBack.count + 1 : 1 },
  };
}

/** When nodecertd writes the same CAs again: after an hour, which doubles up to twelve. */
export function nextAttempt(
  { rolledBack }: TrustMemory,
  authorities: readonly string[],
): Instant | undefined {
  if (rolledBack === undefined || !isSame(rolledBack, authorities)) return undefined;
  return rolledBack.at + Math.min(hour * 2 ** (rolledBack.count - 1), 12 * hour);
}

export function rollbackFinding({ at }: RolledBack, next: Instant): TrustFinding {
  return {
    id: 'trust_rolled_back',
    message: `the kubelet did not stay up after its restart at ${formatInstant(at)}, so the previous CAs are in place; nodecertd writes the new ones again at ${formatInstant(next)}`,
    remedy:
      'Find out why the kubelet does not start: journalctl -u kubelet -n 50; then run: nodecertd trust sync',
  };
}

function isSame({ authorities: known }: RolledBack, authorities: readonly string[]): boolean {
  return [...known].sort().join(' ') === [...authorities].sort().join(' ');
}
