import { mismatchOf } from './identity.ts';
import type { Instant } from './instant.ts';
import type { DueReason, Phase, RotationState } from './rotation-state.ts';
import { overdueGrace, skewLeeway } from './schedule.ts';
import { minimumRotationInterval } from './timing.ts';

/** The reason to request a new certificate; undefined while the existing one is good. */
export function dueReason(state: RotationState, now: Instant): DueReason | undefined {
  const { pair, template, deadline, storedAt, checkServerClockAt, renewalAt } = state;
  if (state.observed) return undefined;
  if (pair === undefined) return 'no-pair';
  // If a pair was stored shortly before its expiry, the deadline is later than the expiry on
  // purpose; see `rotationDeadline`.
  const postponed = storedAt !== undefined && deadline !== undefined && now < deadline;
  if (now >= pair.notAfter && !postponed) return 'expired';
  if (pair.selfSigned) return 'self-signed';
  if (checkServerClockAt !== undefined && now >= checkServerClockAt) return 'not-yet-valid';
  const mismatch = template === undefined ? undefined : mismatchOf(template, pair);
  if (mismatch !== undefined) return mismatch;
  if (renewalAt !== undefined) return 'renewal';
  if (deadline !== undefined && now >= deadline) return 'deadline';
  return state.behind === pair.serial ? 'issuer-behind' : undefined;
}

/** The condition that blocks a due request; undefined if the request can start. */
export function blockedBy(
  state: RotationState,
  now: Instant,
): 'addresses' | 'identity' | 'interval' | 'unfinished-requests' | undefined {
  // Check the client certificate first, because nodecertd needs it to read the Node's addresses.
  if (!state.identityReady) return 'identity';
  if (state.template === undefined) return 'addresses';
  if (now < state.notBefore) return 'unfinished-requests';
  // The interval prevents request loops. A renewal by an administrator skips it.
  const { storedAt, pair, renewalAt } = state;
  if (renewalAt !== undefined) return undefined;
  const sinceStored = storedAt === undefined ? Infinity : now - storedAt;
  const valid = pair !== undefined && now < pair.notAfter && !pair.selfSigned;
  return valid && sinceStored >= 0 && sinceStored < minimumRotationInterval
    ? 'interval'
    : undefined;
}

/**
 * True if the pair is not valid yet, by more than the usual difference between clocks; see
 * `checkServerClock` in rotation.ts.
 */
export function isEarly({ pair }: RotationState, now: Instant): boolean {
  return pair !== undefined && !pair.selfSigned && pair.notBefore > now + skewLeeway;
}

/** When the next attempt starts. */
export function retryAt(phase: Extract<Phase, { kind: 'backing-off' }>): Instant {
  return phase.since + phase.delay;
}

/** When the state machine next acts without an event, so that the loop can sleep until then. */
export function nextWake(state: RotationState, now: Instant): Instant {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return Infinity;
    case 'idle': {
      if (dueReason(state, now) === undefined) {
        const { deadline = Infinity, checkServerClockAt = Infinity, pair } = state;
        const moments = [deadline, checkServerClockAt, pair?.notAfter ?? Infinity];
        return Math.min(...moments.filter((moment) => moment > now));
      }
      const blocked = blockedBy(state, now);
      if (blocked === 'unfinished-requests') return state.notBefore;
      return blocked === 'interval' ? (state.storedAt ?? now) + minimumRotationInterval : Infinity;
    }
    case 'enrolling':
      return phase.abandonAt ?? Infinity;
    case 'backing-off':
      return phase.retry === 'enroll' && blockedBy(state, now) !== undefined
        ? Infinity
        : retryAt(phase);
    default:
      return phase satisfies never;
  }
}

/** `-current.pem` holds a certificate of the cluster that is valid now. */
export function isUsable({ pair }: RotationState, now: Instant): boolean {
  return pair !== undefined && !pair.selfSigned && pair.notBefore <= now && now < pair.notAfter;
}

/** The rotation is past its deadline and grace period. Computed from the clock alone, so that it shows even if no attempt was ever made. */
export function isOverdue({ pair, deadline }: RotationState, now: Instant): boolean {
  if (pair === undefined || deadline === undefined || pair.selfSigned) return false;
  return now > Math.min(deadline, pair.notAfter) + overdueGrace(pair);
}
