import type { AgentError, ErrorCode } from '../core/errors.ts';
import { second } from '../core/instant.ts';

const transient: ReadonlySet<ErrorCode> = new Set([
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_THROTTLED',
  'API_SERVER_ERROR',
]);

/** True if another attempt soon may succeed. */
export function isTransient({ code }: Pick<AgentError, 'code'>): boolean {
  return transient.has(code);
}

const firstDelay = 5 * second;
const longestDelay = 30 * second;

/**
 * Milliseconds until the next attempt: doubles from 5s to 30s.
 * @param failures the failures before this one
 */
export function nextDelay(failures: number): number {
  return Math.min(firstDelay * 2 ** Math.min(failures, 10), longestDelay);
}
