import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatDuration, formatInstant } from '../../core/instant.ts';
import { skewLeeway } from '../../core/schedule.ts';
import type { ClockSync } from '../../sys/clock-sync.ts';
import type { KubernetesDirectories } from '../layout.ts';
import { authorityNames } from '../layout.ts';
import { readAuthorityFile } from '../renewal/renewal-plan.ts';
import type { ServerClock } from './server-clock.ts';

const remedy = 'Start a time service, and check the clock: timedatectl';

/**
 * A wrong clock makes valid certificates look expired, and gives new ones a wrong validity.
 * @throws AgentError CLOCK_UNTRUSTED
 */
export async function requireTrustedClock({
  now,
  sync,
  directories,
}: {
  readonly now: Instant;
  readonly sync: ClockSync;
  readonly directories: KubernetesDirectories;
}): Promise<void> {
  for (const name of authorityNames) {
    const authority = await readAuthorityFile(name, directories).catch(() => undefined);
    const starts = (authority?.certificates ?? []).map(({ facts }) => facts.notBefore);
    const notBefore = Math.min(...starts);
    if (starts.length === 0 || now >= notBefore) continue;
    throw untrusted(
      `the clock of this node shows ${formatInstant(now)}, but the CA ${authority?.path} is valid from ${formatInstant(notBefore)}`,
    );
  }
  if (sync === 'unsynchronized') {
    throw untrusted(
      'the clock of this node is not synchronized: timedatectl shows NTPSynchronized=no',
    );
  }
}

/** @throws AgentError CLOCK_UNTRUSTED */
export function requireSameTime({ ahead }: ServerClock, server: string): void {
  if (Math.abs(ahead) <= skewLeeway) return;
  throw untrusted(
    `the clock of this node is ${formatDuration(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'} the clock of the API server ${server}`,
  );
}

/**
 * Without the API server, only a time service shows that certificates have really expired.
 * @throws AgentError CLOCK_UNTRUSTED
 */
export function requireSynchronized(sync: ClockSync): void {
  if (sync === 'synchronized') return;
  throw new AgentError(
    'CLOCK_UNTRUSTED',
    'certificates have expired according to the clock of this node, but neither timedatectl nor the API server confirms the clock',
    { remedy: 'Check the clock, then renew by hand: nodecertd certs renew --due' },
  );
}

function untrusted(message: string): AgentError {
  return new AgentError('CLOCK_UNTRUSTED', message, { remedy });
}
