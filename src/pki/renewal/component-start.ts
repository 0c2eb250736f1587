import { get } from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get as getPlain } from 'node:http';
import { AgentError, describeError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatDuration, minute, second } from '../../core/instant.ts';
import type { Clock } from '../../sys/clock.ts';
import type { Process } from '../../sys/process.ts';
import { findProcesses } from '../../sys/process.ts';
import { showUnit } from '../../sys/systemctl.ts';
import type { HealthPort } from '../components/component-endpoints.ts';
import type { ComponentName } from '../components/component.ts';
import { processCommand } from '../components/component.ts';
import type { ComponentRestart } from './restart.ts';

export interface StartEnvironment {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** By default those of this machine. */
  readonly proc?: string;
  readonly systemctl?: string;
  /** Called with each new reason why a component is not healthy yet. */
  readonly onWait?: (reason: string) => void;
}

/** kubeadm's control plane needs 15 to 45 seconds. */
const timeLimit = 2 * minute;
const interval = second / 2;

/**
 * Notes which processes of a component run before its restart.
 * @returns waits until another process of it answers /healthz, and returns the milliseconds until
 * then. It throws AgentError COMPONENT_RESTART after two minutes, and ABORTED
 */
export async function expectRestart(
  restart: ComponentRestart,
  environment: StartEnvironment,
): Promise<() => Promise<number>> {
  const { clock } = environment;
  const before = await processIds(restart.component, environment);
  const start = clock.elapsed();
  return async () => {
    await waitUntilHealthy(restart, { before, start, ...environment });
    return clock.elapsed() - start;
  };
}

/** When the oldest process of a component started; undefined if none runs. */
export async function startOf(
  component: ComponentName,
  environment: Pick<StartEnvironment, 'clock' | 'proc'>,
): Promise<Instant | undefined> {
  const processes = await processesOf(component, environment);
  if (processes.length === 0) return undefined;
  return environment.clock.now() - Math.max(...processes.map(({ ageMs }) => ageMs));
}

async function processIds(
  component: ComponentName,
  environment: Pick<StartEnvironment, 'proc'>,
): Promise<ReadonlySet<number>> {
  return new Set((await processesOf(component, environment)).map(({ pid }) => pid));
}

async function processesOf(
  component: ComponentName,
  { proc }: Pick<StartEnvironment, 'proc'>,
): Promise<Process[]> {
  return findProcesses((command) => processCommand(command)?.name === component, proc);
}

async function waitUntilHealthy(
  restart: ComponentRestart,
  options: StartEnvironment & { readonly before: ReadonlySet<number>; readonly start: number },
): Promise<void> {
  const { component } = restart;
  const { clock, signal, start, onWait } = options;
  for (let known = ''; ;) {
    const reason = await faultOf(restart, options);
    if (reason === undefined) return;
    if (clock.elapsed() - start >= timeLimit) throw notHealthy(restart, reason);
    if (reason === notRunning && (await hasFailed(restart, options))) throw failed(restart);
    if (reason !== known) onWait?.(`${component}: ${reason}`);
    known = reason;
    await clock.sleep(interval, signal);
  }
}

const notRunning = 'it is not running';

/** True if systemd no longer tries to start the unit: it has failed too often, or has no `Restart=`. */
async function hasFailed(
  { by }: ComponentRestart,
  { systemctl }: Pick<StartEnvironment, 'systemctl'>,
): Promise<boolean> {
  if (by.kind !== 'unit') return false;
  const { properties } = await showUnit(by.unit, ['ActiveState'], { systemctl });
  return properties.get('ActiveState')?.[0] === 'failed';
}

function failed(restart: ComponentRestart): AgentError {
  return new AgentError(
    'COMPONENT_RESTART',
    `${restart.component} does not start, and systemd has stopped its attempts`,
    { remedy: `Read its log: ${logCommand(restart)}` },
  );
}

/** Why no new process of the component is healthy. */
async function faultOf(
  { component, health }: ComponentRestart,
  environment: StartEnvironment & { readonly before: ReadonlySet<number> },
): Promise<string | undefined> {
  const running = [...(await processIds(component, environment))];
  if (running.length === 0) return notRunning;
  if (running.every((pid) => environment.before.has(pid))) return 'the previous process still runs';
  if (health === undefined) return undefined;
  const answer = await healthOf(health, environment.signal);
  return answer === 'ok' ? undefined : answer;
}

function notHealthy(restart: ComponentRestart, reason: string): AgentError {
  return new AgentError(
    'COMPONENT_RESTART',
    `${restart.component} was not healthy ${formatDuration(timeLimit)} after its restart: ${reason}`,
    { remedy: `Read its log: ${logCommand(restart)}` },
  );
}

/** The command that shows the log of a component, also of one that has just ended. */
export function logCommand({ component, by }: Pick<ComponentRestart, 'component' | 'by'>): string {
  return by.kind === 'unit' ? `journalctl --unit ${by.unit}` : podLogCommand(component);
}

/** The same for a static pod. */
export function podLogCommand(component: ComponentName): string {
  return `crictl logs "$(crictl ps --all --quiet --name ${component} | head -1)"`;
}

/**
 * `ok`, or why the component is not healthy. The certificate of this port is self-signed, and the
 * answer contains no secret.
 */
export async function healthOf(
  { host, port, plainPath }: HealthPort,
  signal: AbortSignal,
): Promise<string> {
  try {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(3 * second)]);
    const path = plainPath ?? '/healthz';
    const common = { host, port, path, agent: false, signal: stop } as const;
    const request =
      plainPath === undefined ? get({ ...common, rejectUnauthorized: false }) : getPlain(common);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode === 200 ? 'ok' : `${path} answers ${response.statusCode}`;
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}
