import type { AgentConfig } from '../../core/config.ts';
import { AgentError, hasCode } from '../../core/errors.ts';
import { minute, second } from '../../core/instant.ts';
import type { DirectoryLock } from '../../store/directory-lock.ts';
import { lockDirectory } from '../../store/directory-lock.ts';
import { makePrivateDirectory } from '../../store/run-folder.ts';
import type { Clock } from '../../sys/clock.ts';
import { trustDirectory } from './trust-files.ts';

export interface TrustLockRequest {
  readonly config: Pick<AgentConfig, 'stateDirectory'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A restart of the kubelet in another run takes some seconds. */
const longestWait = minute;

/**
 * Waits until no other command changes the CAs of this node.
 * @throws AgentError STORE_*, ABORTED
 */
export async function lockTrust({
  config,
  clock,
  signal,
}: TrustLockRequest): Promise<DirectoryLock> {
  const directory = trustDirectory(config);
  await makePrivateDirectory(directory);
  const deadline = clock.elapsed() + longestWait;
  for (;;) {
    try {
      return await lockDirectory(directory, inUse);
    } catch (error) {
      if (!hasCode(error, 'STORE_LOCKED') || clock.elapsed() >= deadline) throw error;
      await clock.sleep(second, signal);
    }
  }
}

function inUse(directory: string, pid: string | undefined): AgentError {
  const holder = pid === undefined ? '' : ` (pid ${pid})`;
  return new AgentError(
    'STORE_LOCKED',
    `another nodecertd command${holder} is changing the CAs of this node, and holds the lock in ${directory}`,
    { remedy: 'Wait until the other command has finished, and run this command again' },
  );
}
