import type { ErrorCode, Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { PreflightFinding } from '../core/findings.ts';
import type { Clock } from '../sys/clock.ts';

/** What was looked at, or why it could not be: a check that fails is an answer of its own. */
export type Gathered<T> =
  | { readonly kind: 'known'; readonly value: T }
  | { readonly kind: 'unknown'; readonly failure: Failure };

export interface Look<T> {
  /** Names what is looked at, for people who wait for it. */
  readonly what: string;
  readonly ms: number;
  /** What a look that takes too long counts as. */
  readonly timeoutCode: ErrorCode;
  readonly look: (signal: AbortSignal) => Promise<T>;
}

export interface LookAround {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told when a look begins and when it is over. */
  readonly onProgress?: ((what: string, state: 'begun' | 'over') => void) | undefined;
}

/**
 * Looks at one thing within its own time. Never rejects, and does not wait for a look
 * that ignores its signal: a read from a dead network file system would hold up
 * everything else.
 */
export async function gather<T>(
  { what, ms, timeoutCode, look }: Look<T>,
  { clock, signal, onProgress }: LookAround,
): Promise<Gathered<T>> {
  const over = new AbortController();
  const timeout = clock.sleep(ms, over.signal).then(() => {
    throw new AgentError(timeoutCode, `${what}: not done within ${ms / second} s`);
  });
  onProgress?.(what, 'begun');
  try {
    const value = await Promise.race([look(AbortSignal.any([signal, over.signal])), timeout]);
    return { kind: 'known', value };
  } catch (error) {
    return { kind: 'unknown', failure: toFailure(error) };
  } finally {
    over.abort();
    timeout.catch(() => undefined);
    onProgress?.(what, 'over');
  }
}

/** What is said of a thing that could not be looked at. */
export function notChecked(what: string, { message, remedy }: Failure): PreflightFinding {
  return {
    id: 'not-checked',
    severity: 'warning',
    subject: what,
    what: `${what} could not be looked at: ${message}`,
    why: 'What is wrong there, if anything, is not among these findings',
    ...(remedy !== undefined && { remedy }),
  };
}

/** The findings of a judge, or that there was nothing to judge. */
export function judged<T>(
  what: string,
  gathered: Gathered<T>,
  judge: (value: T) => PreflightFinding[],
): PreflightFinding[] {
  return gathered.kind === 'known' ? judge(gathered.value) : [notChecked(what, gathered.failure)];
}

export function known<T>(gathered: Gathered<T>): T | undefined {
  return gathered.kind === 'known' ? gathered.value : undefined;
}
