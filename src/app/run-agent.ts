import type { ChildProcess } from 'node:child_process';
import { isatty } from 'node:tty';
import type { LoadedConfig } from '../config/load.ts';
import { toFailure } from '../core/errors.ts';
import type { Logger } from '../sys/log.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { Agent } from './agent.ts';
import { ServiceNotifier } from './service-notifier.ts';

export interface RunAgentOptions {
  readonly config: LoadedConfig;
  readonly loadConfig: () => Promise<LoadedConfig>;
  /** An enroller process that was started ahead of time. */
  readonly started?: ChildProcess | undefined;
}

/**
 * Runs until SIGTERM or SIGINT; a second one ends the process where it stands. SIGHUP
 * has the configuration read anew, except for an agent whose terminal was closed.
 */
export async function runUntilSignalled(options: RunAgentOptions): Promise<number> {
  const notifier = new ServiceNotifier(await serviceManager());
  const agent = new Agent({ ...options, notifier });
  const { logger } = agent;
  const stop = new AbortController();
  const end = (): void => {
    if (stop.signal.aborted) process.exit(1);
    stop.abort();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', isatty(0) ? end : () => void agent.reload());
  // A fault in a callback ends the process as it should, but with a line that can be searched for.
  process.on('uncaughtException', (error) => {
    logFailed(logger, error);
    process.exit(1);
  });
  try {
    await agent.run(stop.signal);
    return 0;
  } catch (error) {
    logFailed(logger, error);
    throw error;
  }
}

function logFailed(logger: Logger, error: unknown): void {
  const { code, message, remedy } = toFailure(error);
  logger.log('agent_failed', {
    code,
    error: message,
    ...(remedy !== undefined && { remedy }),
  });
}
