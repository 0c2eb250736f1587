import type { ErrorCode, Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { second } from '../core/instant.ts';
import { isForbidden } from '../sys/file-error.ts';
import type { Clock } from '../sys/clock.ts';

/** The facts a check collected, or why it failed. A failed check becomes a finding of its own. */
export type CheckResult<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'failed'; readonly failure: Failure };

export interface Check<T> {
  /** The subject of the check, shown while it runs: `the kubeconfig`. */
  readonly what: string;
  readonly timeoutMs: number;
  /** The error code of a check that times out. */
  readonly timeoutCode: ErrorCode;
  readonly inspect: (signal: AbortSignal) => Promise<T>;
}

export interface CheckContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called when a check starts and when it ends. */
  readonly onProgress?: ((what: string, state: 'started' | 'ended') => void) | undefined;
}

/**
 * Runs one check within its own timeout. Never rejects, and does not wait for a check
 * that ignores its signal: a read from a dead network file system must not block the
 * other checks.
 */
export async function runCheck<T>(
  { what, timeoutMs, timeoutCode, inspect }: Check<T>,
  { clock, signal, onProgress }: CheckContext,
): Promise<CheckResult<T>> {
  const ended = new AbortController();
  const timeout = clock.sleep(timeoutMs, ended.signal).then(() => {
    throw new AgentError(timeoutCode, `checking ${what} timed out after ${timeoutMs / second} s`);
  });
  onProgress?.(what, 'started');
  try {
    const value = await Promise.race([inspect(AbortSignal.any([signal, ended.signal])), timeout]);
    return { kind: 'done', value };
  } catch (error) {
    return { kind: 'failed', failure: failureOf(error) };
  } finally {
    ended.abort();
    timeout.catch(() => undefined);
    onProgress?.(what, 'ended');
  }
}

export const asAgentUser = 'Run the doctor as the user of the agent, usually root';

/** Another user than root may not read some files, which is no fault of the node. */
function failureOf(error: unknown): Failure {
  const user = process.geteuid?.() ?? 0;
  if (!isForbidden(error) || user === 0) return toFailure(error);
  const { path } =
    error instanceof AgentError ? { path: undefined } : (error as NodeJS.ErrnoException);
  const message =
    path === undefined ? toFailure(error).message : `user ${user} may not read ${path}`;
  return { code: 'STORE_PERMISSIONS', message, remedy: asAgentUser };
}

/** A finding with the message and the remedy of a failure. */
export function failureFinding(
  { message, remedy }: Failure,
  { id, severity, why }: Pick<DoctorFinding, 'id' | 'severity'> & { readonly why: string },
): DoctorFinding {
  return { id, severity, what: message, why, ...(remedy !== undefined && { remedy }) };
}

export function notChecked(what: string, failure: Failure): DoctorFinding {
  const why = 'The doctor cannot report problems there';
  return {
    ...failureFinding(failure, { id: 'not-checked', severity: 'warning', why }),
    subject: what,
    what: `cannot check ${what}: ${failure.message}`,
  };
}

/** The findings about the facts, or the finding that the check failed. */
export function evaluate<T>(
  what: string,
  result: CheckResult<T>,
  findingsOf: (value: T) => DoctorFinding[],
): DoctorFinding[] {
  return result.kind === 'done' ? findingsOf(result.value) : [notChecked(what, result.failure)];
}

export function valueOf<T>(result: CheckResult<T>): T | undefined {
  return result.kind === 'done' ? result.value : undefined;
}
