import type { Instant } from '../../core/instant.ts';
import { formatInstant, hour } from '../../core/instant.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import { without } from '../../core/without.ts';
import type { RolledBack, TrustMemory } from './trust-memory.ts';

/** The previous CAs are in place again, without these. */
export function withRollback(
  memory: TrustMemory,
  { by, at, authorities }: Omit<RolledBack, 'count'>,
): TrustMemory {
  const { rolledBack } = memory;
  const isAgain = rolledBack?.by === by && isSame(rolledBack, authorities);
  const count = isAgain ? rolledBack.count + 1 : 1;
  return { ...memory, changedAt: at, rolledBack: { by, at, authorities, count } };
}

/** Every place has the CAs. The rollback counts until the kubelet uses them. */
export function withoutRollback(memory: TrustMemory): TrustMemory {
  return memory.reader?.changedAt === undefined ? without(memory, 'rolledBack') : memory;
}

/**
 * When nodecertd writes the same CAs again. After the kubelet did not stay up, this is an hour, which
 * doubles up to twelve.
 */
export function nextAttempt(
  { rolledBack }: TrustMemory,
  authorities: readonly string[],
): Instant | undefined {
  if (rolledBack === undefined || !isSame(rolledBack, authorities)) return undefined;
  const { by, at, count } = rolledBack;
  const delay = by === 'administrator' ? longestDelay : hour * 2 ** (count - 1);
  return at + Math.min(delay, longestDelay);
}

const longestDelay = 12 * hour;

export function rollbackFinding({ by, at }: RolledBack, next: Instant): TrustFinding {
  const reason =
    by === 'administrator'
      ? `nodecertd trust rollback restored the previous CAs at ${formatInstant(at)}`
      : `the kubelet did not stay up after its restart at ${formatInstant(at)}, so the previous CAs are in place`;
  const repair =
    by === 'administrator'
      ? 'Write them now: nodecertd trust sync'
      : 'Find out why the kubelet does not start: journalctl -u kubelet -n 50; then run: nodecertd trust sync';
  return {
    id: 'trust_rolled_back',
    message: `${reason}; nodecertd writes the CAs of the sources again at ${formatInstant(next)}`,
    remedy: repair,
  };
}

function isSame({ authorities: known }: RolledBack, authorities: readonly string[]): boolean {
  return [...known].sort().join(' ') === [...authorities].sort().join(' ');
}
