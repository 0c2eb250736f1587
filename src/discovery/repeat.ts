import { AgentError, hasCode } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import { formatDuration, second } from '../core/instant.ts';
import type { DiscoveryContext } from './discovery.ts';

/** Another attempt soon may succeed. */
const transient: readonly ErrorCode[] = [
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_THROTTLED',
  'API_SERVER_ERROR',
];

const firstDelay = 5 * second;
const longestDelay = 30 * second;

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
  for (let delay = firstDelay; ; delay = Math.min(delay * 2, longestDelay)) {
    try {
      return await run();
    } catch (error) {
      if (hasCode(signal.reason, 'API_TIMEOUT')) throw gaveUp(last ?? signal.reason, timeoutMs);
      if (!(error instanceof AgentError) || !transient.includes(error.code)) throw error;
      last = error;
    }
    const wait = Math.max(delay, last.retryAfterMs ?? 0);
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
