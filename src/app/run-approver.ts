import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { isatty } from 'node:tty';
import type { MetricsConfig } from '../core/config.ts';
import { toFailure } from '../core/errors.ts';
import type { LogLevel } from '../core/log-events.ts';
import { failureFields } from '../core/log-events.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { podNamespace, serviceAccountAccess } from '../kube/service-account.ts';
import { systemClock } from '../sys/clock.ts';
import type { LogFormat, Logger } from '../sys/log.ts';
import { createLogger } from '../sys/log.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { Approver } from './approver.ts';
import { PolicyLoader } from './policy-loader.ts';

export interface RunApproverOptions {
  /** The service account of the pod if absent. */
  readonly kubeconfig?: string | undefined;
  /** The default policy if absent. */
  readonly policy?: string | undefined;
  /** The namespace of the pod, or kube-system, if absent. */
  readonly leaseNamespace?: string | undefined;
  readonly metrics: MetricsConfig;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/**
 * Runs until SIGTERM or SIGINT, and then releases the Lease; a second signal ends the process at
 * once. SIGHUP reads the policy again, except on a terminal, where it means that the terminal was
 * closed.
 */
export async function runApproverUntilSignaled(options: RunApproverOptions): Promise<number> {
  const { kubeconfig, metrics, logLevel: level, logFormat: format } = options;
  const logger = createLogger({ level, format });
  const manager = await serviceManager();
  const approver = new Approver({
    loadAccess: () =>
      kubeconfig === undefined ? serviceAccountAccess() : loadKubeconfig(kubeconfig),
    policy: new PolicyLoader(options.policy),
    lease: {
      namespace: options.leaseNamespace ?? (await podNamespace()) ?? 'kube-system',
      name: 'nodecertd-approver',
    },
    identity: `${hostname()}_${randomUUID()}`,
    metrics,
    logger,
    clock: systemClock,
    random: Math.random,
    onStarted: () => manager?.notify('READY=1'),
  });
  const stop = new AbortController();
  const end = (): void => {
    if (stop.signal.aborted) process.exit(1);
    manager?.notify('STOPPING=1');
    stop.abort();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', isatty(0) ? end : () => void approver.reload());
  process.on('uncaughtException', (error) => {
    logFailed(logger, error);
    process.exit(1);
  });
  try {
    await approver.run(stop.signal);
    return 0;
  } catch (error) {
    logFailed(logger, error);
    throw error;
  }
}

function logFailed(logger: Logger, error: unknown): void {
  logger.log('approver_failed', failureFields(toFailure(error)));
}
