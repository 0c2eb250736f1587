import type { Failure } from '../core/errors.ts';
import { hasErrno } from '../core/errors.ts';
import { hookCommand, hookFailure } from '../core/hooks.ts';
import type { HookSpec } from '../core/hooks.ts';
import type { Clock } from '../sys/clock.ts';
import { exposureOf } from '../sys/exposure.ts';
import { runCommand } from '../sys/run-command.ts';
import { systemctlPath } from '../sys/systemctl.ts';

export interface RunHookOptions {
  readonly hook: HookSpec;
  /** The name of the hook in messages. */
  readonly name: string;
  /** The complete environment of the hook. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
  /** The path of systemctl; searched for if absent. */
  readonly systemctl?: string | undefined;
}

export type HookOutcome =
  | { readonly kind: 'succeeded' }
  | {
      readonly kind: 'failed';
      readonly failure: Failure;
      /** A retry would fail again. */
      readonly final: boolean;
    }
  /** The agent is stopping. */
  | { readonly kind: 'aborted' };

/** Maximum number of output lines to log: enough for an error message. */
const maxLines = 20;

/**
 * Runs the hook once. Checks before each run that only root can change the program, because it
 * runs as root.
 */
export async function runHook(options: RunHookOptions): Promise<HookOutcome> {
  const { hook, name, env, clock, onLine, signal } = options;
  const systemctl = options.systemctl ?? (await systemctlPath());
  const argv = hookCommand(hook, systemctl);
  const refusal = await exposure(name, argv[0] ?? '');
  if (refusal !== undefined) return { kind: 'failed', failure: refusal, final: true };
  const { end, linesLeftOut } = await runCommand({
    argv,
    env,
    clock,
    timeoutMs: hook.timeoutMs,
    maxLines,
    onLine,
    signal,
  });
  if (linesLeftOut > 0) onLine(`… and ${linesLeftOut} more lines`);
  if (end.kind === 'aborted') return { kind: 'aborted' };
  const failure = hookFailure(name, end, hook);
  return failure === undefined ? { kind: 'succeeded' } : { kind: 'failed', failure, final: false };
}

async function exposure(name: string, program: string): Promise<Failure | undefined> {
  try {
    const found = await exposureOf(program);
    if (found === undefined) return undefined;
    const { what, remedy } = found;
    return { code: 'HOOK_FAILED', message: `hook ${name} is disabled: ${what}`, remedy };
  } catch (error) {
    // Running the program reports this error.
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined;
    throw error;
  }
}
