import { execFile } from 'node:child_process';
import { AgentError, hasErrno } from '../core/errors.ts';
import { minute, second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import type { Clock } from '../sys/clock.ts';

/** Longer than a kubelet with a bad configuration lives. */
const settled = 10 * second;
const patience = minute;

export interface RestartRequest {
  readonly unit: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Restarts a service and waits until it stays: active for ten seconds in one and the same
 * process, since one that ends at once is active too, again and again.
 * @throws AgentError KUBELET_RESTART, ABORTED
 */
export async function restartService({ unit, clock, signal }: RestartRequest): Promise<void> {
  // A service that was started too often is not started again before this.
  await systemctl(['reset-failed', unit], signal);
  await systemctl(['restart', unit], signal);
  const deadline = clock.elapsed() + patience;
  let seen: { readonly pid: string; readonly since: number } | undefined;
  for (;;) {
    const state = await stateOf(unit, signal);
    const now = clock.elapsed();
    if (!state.active) seen = undefined;
    else if (seen?.pid !== state.pid) seen = { pid: state.pid, since: now };
    if (seen !== undefined && now - seen.since >= settled) return;
    // Between two tries of its own it is activating: failed is what systemd has given up.
    if (state.failed || now >= deadline) throw notUp(unit, state.shown);
    await clock.sleep(second, signal);
  }
}

interface ServiceState {
  readonly active: boolean;
  readonly failed: boolean;
  readonly pid: string;
  readonly shown: string;
}

async function stateOf(unit: string, signal: AbortSignal): Promise<ServiceState> {
  const properties = ['ActiveState', 'SubState', 'MainPID'];
  const output = await systemctl(['show', unit, ...properties.map((name) => `-p${name}`)], signal);
  const values = new Map(
    output.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const active = values.get('ActiveState') ?? 'unknown';
  const shown = `${active} (${values.get('SubState') ?? 'unknown'})`;
  const pid = values.get('MainPID') ?? '';
  return { active: active === 'active', failed: active === 'failed', pid, shown };
}

function notUp(unit: string, state: string): AgentError {
  return new AgentError('KUBELET_RESTART', `${unit} does not stay up after its restart: ${state}`, {
    remedy: `journalctl -u ${unit} -n 50`,
  });
}

/** A service with a long TimeoutStopSec= takes its time. */
const longestCommand = 5 * minute;

async function systemctl(args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('systemctl', args, { signal, timeout: longestCommand }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = hasErrno(error, 'ENOENT') ? 'it is not installed' : printable(stderr, 200);
      reject(
        signal.aborted
          ? new AgentError('ABORTED', 'the wait was cancelled', { cause: error })
          : new AgentError('KUBELET_RESTART', `systemctl ${args.join(' ')} failed: ${said}`, {
              cause: error,
              remedy: 'See what systemctl says of it, and restart the kubelet by hand',
            }),
      );
    });
  });
}
