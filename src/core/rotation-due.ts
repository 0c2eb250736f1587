import { mismatchOf } from './identity.ts';
import type { Instant } from './instant.ts';
import type { DueReason, Phase, RotationState } from './rotation-state.ts';
import { minimumRotationInterval, skewLeeway } from './schedule.ts';

/** Why a new certificate is called for, or undefined when the pair does. */
export function dueReason(state: RotationState, now: Instant): DueReason | undefined {
  const { pair, template, deadline, storedAt, doubtAt, renewalAt } = state;
  if (state.observed) return undefined;
  if (pair === undefined) return 'no-pair';
  // What was stored just before its end was put off on purpose; see `rotationDeadline`.
  const putOff = storedAt !== undefined && deadline !== undefined && now < deadline;
  if (now >= pair.notAfter && !putOff) return 'expired';
  if (pair.selfSigned) return 'self-signed';
  if (doubtAt !== undefined && now >= doubtAt) return 'not-yet-valid';
  const mismatch = template === undefined ? undefined : mismatchOf(template, pair);
  if (mismatch !== undefined) return mismatch;
  if (renewalAt !== undefined) return 'renewal';
  return deadline !== undefined && now >= deadline ? 'deadline' : undefined;
}

/** What keeps a request that is due from being made. */
export function blockedBy(
  state: RotationState,
  now: Instant,
): 'addresses' | 'identity' | 'interval' | 'left-behind' | undefined {
  // The addresses of the Node are looked up with the identity.
  if (!state.identityReady) return 'identity';
  if (state.template === undefined) return 'addresses';
  if (now < state.notBefore) return 'left-behind';
  // The distance is there for what repeats by itself; a person asks once.
  const { storedAt, pair, renewalAt } = state;
  if (renewalAt !== undefined) return undefined;
  const sinceStored = storedAt === undefined ? Infinity : now - storedAt;
  const valid = pair !== undefined && now < pair.notAfter && !pair.selfSigned;
  return valid && sinceStored >= 0 && sinceStored < minimumRotationInterval
    ? 'interval'
    : undefined;
}

/** Readers have a pair that nobody accepts before a later time; see `doubted` in rotation.ts. */
export function isEarly({ pair }: RotationState, now: Instant): boolean {
  return pair !== undefined && !pair.selfSigned && pair.notBefore > now + skewLeeway;
}

/** The moment of the next try. */
export function retryAt(phase: Extract<Phase, { kind: 'backing-off' }>): Instant {
  return phase.since + phase.delay;
}

/** When the machine next has something to do by itself, so that a loop can sleep until then. */
export function nextWake(state: RotationState, now: Instant): Instant {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return Infinity;
    case 'resting': {
      if (dueReason(state, now) === undefined) {
        const { deadline = Infinity, doubtAt = Infinity, pair } = state;
        const moments = [deadline, doubtAt, pair?.notAfter ?? Infinity];
        return Math.min(...moments.filter((moment) => moment > now));
      }
      const blocked = blockedBy(state, now);
      if (blocked === 'left-behind') return state.notBefore;
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
