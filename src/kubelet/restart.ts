import { AgentError } from '../core/errors.ts';
import { minute, second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { SystemctlOptions, SystemctlResult } from '../sys/systemctl.ts';
import { runSystemctl, showUnit } from '../sys/systemctl.ts';

/** A kubelet with a bad configuration exits sooner than this. */
const steadyMs = 10 * second;
const timeLimit = minute;

export interface RestartRequest extends SystemctlOptions {
  readonly unit: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Restarts a service and waits until one process of it has been active for ten seconds:
 * a process that exits at once is active for a moment, too, each time systemd starts it.
 * @throws AgentError KUBELET_RESTART, ABORTED
 */
export async function restartService(request: RestartRequest): Promise<void> {
  const { unit, clock, signal } = request;
  // systemd refuses to start a service that was started too often, until its counter is reset.
  for (const args of [
    ['reset-failed', unit],
    ['restart', unit],
  ]) {
    requireDone(await runSystemctl(args, request), args, signal);
  }
  const deadline = clock.elapsed() + timeLimit;
  let seen: { readonly pid: string; readonly since: number } | undefined;
  for (;;) {
    const state = await stateOf(request);
    const now = clock.elapsed();
    if (!state.active) seen = undefined;
    else if (seen?.pid !== state.pid) seen = { pid: state.pid, since: now };
    if (seen !== undefined && now - seen.since >= steadyMs) return;
    // Between two attempts the service is activating; it becomes failed when systemd gives up.
    if (state.failed || now >= deadline) throw notActive(unit, state.shown);
    await clock.sleep(second, signal);
  }
}

interface ServiceState {
  readonly active: boolean;
  readonly failed: boolean;
  readonly pid: string;
  readonly shown: string;
}

async function stateOf(request: RestartRequest): Promise<ServiceState> {
  const names = ['ActiveState', 'SubState', 'MainPID'];
  const shown = await showUnit(request.unit, names, request);
  requireDone(shown, ['show', request.unit], request.signal);
  const value = (name: string): string => shown.properties.get(name)?.[0] ?? 'unknown';
  const active = value('ActiveState');
  return {
    active: active === 'active',
    failed: active === 'failed',
    pid: value('MainPID'),
    shown: `${active} (${value('SubState')})`,
  };
}

function requireDone(result: SystemctlResult, args: readonly string[], signal: AbortSignal): void {
  if (signal.aborted) throw new AgentError('ABORTED', 'the wait was canceled');
  if (result.kind === 'done') return;
  throw new AgentError('KUBELET_RESTART', `systemctl ${args.join(' ')} failed: ${result.reason}`, {
    remedy: 'Restart the kubelet by hand: systemctl restart kubelet',
  });
}

function notActive(unit: string, state: string): AgentError {
  return new AgentError('KUBELET_RESTART', `${unit} did not stay up after its restart: ${state}`, {
    remedy: `Check the log of the kubelet: journalctl -u ${unit} -n 50`,
  });
}

/** For example `systemctl restart kubelet`, without the suffix that systemctl adds itself. */
export function systemctlCommand(verb: 'start' | 'restart', unit: string): string {
  return `systemctl ${verb} ${unit.replace(/\.service$/, '')}`;
}
