import { AgentError, hasCode } from '../core/errors.ts';
import { formatDuration } from '../core/instant.ts';
import type { DiscoveryContext } from './discovery.ts';
import { isTransient, nextDelay } from './retry.ts';

/**
 * Repeats an attempt while it fails for a reason that may pass, until the signal fires with
 * API_TIMEOUT. Then the last failure is the error.
 */
export async function repeatUntil<T>(
  run: () => Promise<T>,
  { clock, signal, progress }: DiscoveryContext,
  timeoutMs: number,
): Promise<T> {
  let last: AgentError | undefined;
  for (let failures = 0; ; failures += 1) {
    try {
      return await run();
    } catch (error) {
      if (hasCode(signal.reason, 'API_TIMEOUT')) throw gaveUp(last ?? signal.reason, timeoutMs);
      if (!(error instanceof AgentError) || !isTransient(error)) throw error;
      last = error;
    }
    const wait = Math.max(nextDelay(failures), last.retryAfterMs ?? 0);
    progress(`${last.message}; next attempt in ${formatDuration(wait)}`);
    try {
      await clock.sleep(wait, signal);
    } catch (error) {
      throw hasCode(signal.reason, 'API_TIMEOUT') ? gaveUp(last, timeoutMs) : error;
    }
  }
}

function gaveUp(last: AgentError, timeoutMs: number): AgentError {
  return last.withMessage(`${last.message}; gave up after ${formatDuration(timeoutMs)}`);
}
