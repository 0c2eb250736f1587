import type { ChildProcess } from 'node:child_process';
import { isatty } from 'node:tty';
import type { LoadedConfig } from '../config/load.ts';
import { toFailure } from '../core/errors.ts';
import { failureFields } from '../core/log-events.ts';
import type { Logger } from '../sys/log.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { Agent } from './agent.ts';
import { ServiceNotifier } from './service-notifier.ts';

export interface RunAgentOptions {
  readonly config: LoadedConfig;
  readonly loadConfig: () => Promise<LoadedConfig>;
  /** The enroller process that main.ts started early. */
  readonly started?: ChildProcess | undefined;
}

/**
 * Runs until SIGTERM or SIGINT; a second signal ends the process at once. SIGHUP reloads
 * the configuration, except on a terminal, where it means that the terminal was closed.
 */
export async function runUntilSignaled(options: RunAgentOptions): Promise<number> {
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
  // An error in a callback must end the process, but with a log line.
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
  logger.log('agent_failed', failureFields(toFailure(error)));
}
