import { clamp } from './clamp.ts';
import type { PairFacts } from './certificate.ts';
import { hour } from './instant.ts';
import type { Instant } from './instant.ts';

/**
 * When a certificate is requested again because the signer uses another CA:
 * - `held`: not yet, because `trust.holdServing` is set
 * - `scheduled`: at this time, because the nodes spread their requests
 * - `waiting-for-signer`: the signer has used the old CA again
 */
export type Reissue =
  | { readonly kind: 'held' }
  | { readonly kind: 'scheduled' | 'waiting-for-signer'; readonly at: Instant };

export interface ReissueOptions {
  /** When the agent found that the signer uses another CA. */
  readonly since: Instant;
  /** The certificate that the old CA issued. */
  readonly pair: Pick<PairFacts, 'notBefore' | 'storedAt'>;
  /** The position of the first request in the spread, in [0, 1). */
  readonly fraction: number;
  readonly spreadMs: number;
  readonly isHeld: boolean;
  readonly now: Instant;
}

/**
 * The delays follow from two times, so a restart of the agent changes none of them: the delay
 * before the next request is the time since the first one plus an hour, which doubles it.
 */
export function reissueOf({
  since,
  pair,
  fraction,
  spreadMs,
  isHeld,
  now,
}: ReissueOptions): Reissue {
  if (isHeld) return { kind: 'held' };
  // Times in the future are from before the clock was set back.
  const behindSince = Math.min(since, now);
  const issuedAt = Math.min(Math.max(pair.storedAt, pair.notBefore), now);
  const first = Math.round(behindSince + fraction * spreadMs);
  // A signer that alternates between two CAs must not cause more than one request an hour.
  if (issuedAt < behindSince)
    return { kind: 'scheduled', at: Math.max(first, issuedAt + shortestRetry) };
  const delay = clamp(issuedAt - first + shortestRetry, shortestRetry, longestRetry);
  return { kind: 'waiting-for-signer', at: issuedAt + delay };
}

const shortestRetry = hour;
const longestRetry = 12 * hour;
