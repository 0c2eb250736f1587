import type { ChildProcess } from 'node:child_process';
import { forkEnroller } from '../agent/fork-enroller.ts';
import { Keeper } from '../agent/keeper.ts';
import { RequestJournal } from '../agent/request-journal.ts';
import type { LoadedConfig } from '../config/load.ts';
import { toFailure } from '../core/errors.ts';
import type { AgentStatus } from '../core/status.ts';
import { version } from '../core/version.ts';
import type { Greeting } from '../enroll/process.ts';
import { AgentMetrics } from '../metrics/agent-metrics.ts';
import { startMetricsServer } from '../metrics/server.ts';
import { readState } from '../store/state-file.ts';
import { systemClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import { createLogger } from '../sys/log.ts';
import { releaseMemory } from '../sys/memory.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import { DirectoryHold } from './directory-hold.ts';
import { enrollerProgram } from './enroller-program.ts';
import { StateKeeper } from './state-keeper.ts';

export interface RunningAgent {
  readonly status: () => AgentStatus;
  readonly metricsUrl: string;
  /** Process id of the enroller, while there is one. */
  readonly enrollerPid: () => number | undefined;
}

export interface RunAgentOptions {
  readonly config: LoadedConfig;
  readonly signal: AbortSignal;
  readonly logger?: Logger;
  /** An enroller process that was started ahead of time. */
  readonly started?: ChildProcess | undefined;
  /** Called once everything is in place. */
  readonly onRunning?: (agent: RunningAgent) => void;
}

/**
 * The agent from its lock to its last line: puts keeper, metrics and state file
 * together and works until the signal.
 * @throws AgentError STORE_LOCKED, METRICS_LISTEN and whatever keeps it from starting
 */
export async function runAgent(options: RunAgentOptions): Promise<void> {
  const { config, signal, onRunning } = options;
  const logger = options.logger ?? createLogger(config.log);
  await using hold = await DirectoryHold.take(config.certificateDirectory, logger);
  const { state, setAside } = await readState(config.stateDirectory);
  if (setAside !== undefined) {
    logger.log('state_unreadable', { path: setAside.path, error: setAside.reason });
  }
  await using stateKeeper = new StateKeeper({
    directory: config.stateDirectory,
    state,
    clock: systemClock,
    logger,
  });
  const outstanding = Object.entries(state.certificates).map(
    ([name, record]) => [name, record.outstanding] as const,
  );
  const metrics = new AgentMetrics({
    status: () => keeper.status(),
    health: () => keeper,
    kubeletNames: config.metrics.kubeletNames,
  });
  const keeper: Keeper = new Keeper({
    config,
    version,
    clock: systemClock,
    chance: Math.random,
    interfaces: interfaceAddresses,
    launch: launchEnroller(config, options.started),
    logger,
    observer: metrics,
    releaseMemory,
    directoryLock: hold,
    preflight: true,
    journal: new RequestJournal(Object.fromEntries(outstanding), (requests) => {
      stateKeeper.setOutstanding(requests);
    }),
    ...(config.file !== undefined && { configFile: config.file }),
  });
  await using server = await startMetricsServer({
    metrics,
    status: () => keeper.status(),
    health: () => keeper,
    config: config.metrics,
  });
  const metricsAddress = new URL(server.url).host;
  stateKeeper.update({ pid: process.pid, startedAt: systemClock.now(), metricsAddress });
  logger.log('agent_started', {
    version,
    node: config.nodeName,
    directory: config.certificateDirectory,
    certificates: config.certificates.map(({ name }) => name),
  });
  logger.log('metrics_listening', { address: metricsAddress });
  onRunning?.({
    status: () => keeper.status(),
    metricsUrl: server.url,
    enrollerPid: () => keeper.enrollerPid,
  });
  signal.addEventListener('abort', () => logger.log('agent_stopping'), { once: true });
  await keeper.run(signal);
  logger.log('agent_stopped');
}

function launchEnroller(
  config: LoadedConfig,
  started?: ChildProcess,
): ReturnType<typeof forkEnroller> {
  const greeting: Greeting = { config, version };
  return forkEnroller({
    ...enrollerProgram,
    greeting,
    ...(started !== undefined && { started }),
  });
}

/** Runs until SIGTERM or SIGINT; a second one ends the process where it stands. */
export async function runUntilSignalled(
  config: LoadedConfig,
  started?: ChildProcess,
): Promise<number> {
  const logger = createLogger(config.log);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(1);
      stop.abort();
    });
  }
  // A fault in a callback ends the process as it should, but with a line that can be searched for.
  process.on('uncaughtException', (error) => {
    logFailed(logger, error);
    process.exit(1);
  });
  try {
    await runAgent({ config, signal: stop.signal, logger, started });
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
