import type { PairFacts } from './certificate.ts';
import { clamp } from './clamp.ts';
import type { Failure } from './errors.ts';
import { credentialFileFailures } from './errors.ts';
import { sameTemplate } from './identity.ts';
import { minute } from './instant.ts';
import type { Instant } from './instant.ts';
import { blockedBy, dueReason, isEarly, retryAt } from './rotation-due.ts';
import type {
  DueReason,
  Phase,
  RotationContext,
  RotationEffect,
  RotationEvent,
  RotationState,
  Transition,
} from './rotation-state.ts';
import { observedDeadline, rotationDeadline, storedMoment } from './schedule.ts';
import {
  delayAfterRollback,
  longestDelay,
  reminderInterval,
  requestDelay,
  retryDelay,
  sameBackoff,
  serverClockCheckInterval,
  templateChangeDelay,
} from './timing.ts';
import { without } from './without.ts';

/**
 * Rotation of one certificate as a pure state machine: `step(state, event, context)`
 * returns the new state and the effects to carry out. Every decision about time is made
 * here, and no clock is read.
 */
export function step(
  state: RotationState,
  event: RotationEvent,
  context: RotationContext,
): Transition {
  const current = restartDelays(state, context);
  const applied = apply(current.state, event, context);
  const next = advance(checkServerClock(applied.state, context), context);
  return { state: next.state, effects: [current, applied, next].flatMap(({ effects }) => effects) };
}

/**
 * After the clock was set back, every delay restarts. Otherwise it would last until the clock
 * reaches the old time again.
 */
function restartDelays(state: RotationState, { now }: RotationContext): Transition {
  const { phase, storedAt } = state;
  const since = phase.kind === 'enrolling' ? phase.stageSince : phase.since;
  if (since <= now) return noEffects(state);
  const notBefore = now + Math.max(state.notBefore - since, 0);
  const current = { ...state, notBefore, phase: restartPhase(phase, state.lastFailure?.code, now) };
  if (storedAt === undefined || storedAt <= now) return noEffects(current);
  // The deadline was computed while the clock was ahead, so an inspection computes it again.
  return filesChanged(without(current, 'storedAt'), now);
}

/**
 * Plans a check of the server clock for a pair that is not valid yet. Usually the node's clock is
 * behind and is soon corrected, so a new certificate would not help. But if the clocks of the
 * whole cluster were ahead and were set back, the pair may stay invalid for years. Only the clock
 * of the API server distinguishes the two cases, so the enroller compares clocks before it
 * requests a certificate.
 */
function checkServerClock(state: RotationState, { now, random }: RotationContext): RotationState {
  // Without a client certificate we cannot ask the API server; try again once there is one.
  if (!isEarly(state, now) || !state.identityReady) {
    return state.checkServerClockAt === undefined ? state : without(state, 'checkServerClockAt');
  }
  const planned = state.checkServerClockAt ?? now + minute + random * serverClockCheckInterval;
  const latest = now + minute + serverClockCheckInterval;
  return { ...state, checkServerClockAt: Math.min(planned, latest) };
}

function restartPhase(phase: Phase, code: string | undefined, now: Instant): Phase {
  switch (phase.kind) {
    case 'enrolling':
      return without({ ...phase, since: now, stageSince: now }, 'remindedAt');
    case 'backing-off':
      return { ...phase, since: now, delay: dependsOnClock.has(code) ? 0 : phase.delay };
    case 'inspecting':
    case 'idle':
      return { ...phase, since: now };
    default:
      return phase satisfies never;
  }
}

/**
 * A clock that is ahead causes these failures, so the retry starts at once after it is set back.
 */
const dependsOnClock = new Set<string | undefined>([
  'CERT_EXPIRED',
  'CREDENTIAL_EXPIRED',
  'API_UNTRUSTED',
]);

function apply(state: RotationState, event: RotationEvent, context: RotationContext): Transition {
  const { now } = context;
  switch (event.type) {
    case 'tick':
      return noEffects(state);
    case 'inspected':
      return inspected(state, event, context);
    case 'template':
      return noEffects(
        event.template === undefined
          ? without(state, 'template')
          : { ...state, template: event.template },
      );
    case 'identity':
      return noEffects({ ...state, identityReady: event.ready });
    case 'progress':
      return noEffects(updateProgress(state, event, now));
    case 'stored':
      return noEffects(stored(state, event.pair, context));
    case 'failed':
      return noEffects(failed(state, event, context));
    case 'inspection-failed':
      return noEffects(inspectionFailed(state, event.failure, context));
    case 'rolled-back':
      return noEffects(rolledBack(state, event, context));
    case 'renew':
      return noEffects(renew(state, now));
    case 'behind':
      return noEffects(
        event.serial === undefined ? without(state, 'behind') : { ...state, behind: event.serial },
      );
    case 'files-changed':
      return filesChanged(state, now);
    case 'credential-changed':
      return noEffects(credentialChanged(state));
    default:
      return event satisfies never;
  }
}

function credentialChanged(state: RotationState): RotationState {
  const { phase, lastFailure } = state;
  return phase.kind === 'backing-off' &&
    lastFailure !== undefined &&
    credentialFileFailures.has(lastFailure.code)
    ? { ...state, phase: { ...phase, delay: 0 } }
    : state;
}

/**
 * A renewal by an administrator skips every delay, because the cause of a failure may be fixed by
 * now. It keeps a pending CSR, because its key has never been on disk and is as good as a new
 * one.
 */
function renew(state: RotationState, now: Instant): RotationState {
  const { phase, renewalAt = now } = state;
  const notBefore = Math.min(state.notBefore, now);
  const phaseWithoutDelay = phase.kind === 'backing-off' ? { ...phase, delay: 0 } : phase;
  return { ...state, renewalAt, notBefore, phase: phaseWithoutDelay };
}

/** An enrollment continues during the inspection. */
function filesChanged(state: RotationState, now: Instant): Transition {
  const phase: Phase =
    state.phase.kind === 'idle' ? { kind: 'inspecting', since: now } : state.phase;
  return { state: { ...state, phase }, effects: [{ type: 'inspect' }] };
}

/** Starts the request, retry or reminder that is due in the new state. */
function advance(state: RotationState, { now }: RotationContext): Transition {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return noEffects(state);
    case 'idle': {
      const reason = dueReason(state, now);
      if (reason === undefined) return clearFailures(state);
      return blockedBy(state, now) === undefined ? enroll(state, reason, now) : noEffects(state);
    }
    case 'enrolling':
      return superviseRequest(state, phase, now);
    case 'backing-off':
      return now >= retryAt(phase) ? retry(state, phase, now) : noEffects(state);
    default:
      return phase satisfies never;
  }
}

/** A usable pair clears the failure history, no matter what installed it. */
function clearFailures(state: RotationState): Transition {
  const { failures, lastCode } = state;
  if (lastCode === undefined) return noEffects(state);
  return {
    state: { ...without(without(state, 'lastFailure'), 'lastCode'), failures: 0, streak: 0 },
    // An inspection that failed during an enrollment was logged but not counted.
    effects: [{ type: 'recovered', failures: Math.max(failures, 1) }],
  };
}

function enroll(state: RotationState, reason: DueReason, now: Instant): Transition {
  const { template } = state;
  if (template === undefined) return noEffects(state);
  return {
    state: {
      ...state,
      phase: {
        kind: 'enrolling',
        since: now,
        stage: 'requesting',
        stageSince: now,
        template,
        ...(state.pair !== undefined && { replaces: state.pair }),
      },
    },
    effects: [{ type: 'enroll', template, reason }],
  };
}

/**
 * Abandons a request whose template changed. Otherwise logs a reminder if the CSR is still not
 * approved or not issued.
 */
function superviseRequest(
  state: RotationState,
  phase: Extract<Phase, { kind: 'enrolling' }>,
  now: Instant,
): Transition {
  const { template } = state;
  const changed = template !== undefined && !sameTemplate(template, phase.template);
  if (!changed) {
    const unchanged = without(phase, 'abandonAt');
    return remind({ ...state, phase: unchanged }, unchanged, now);
  }
  const abandonAt = phase.abandonAt ?? now + templateChangeDelay;
  if (now < abandonAt && abandonAt - now <= templateChangeDelay) {
    return noEffects({ ...state, phase: { ...phase, abandonAt } });
  }
  return abandon(state, now);
}

/**
 * Each abandoned CSR stays on the API server. A growing delay prevents a flood of CSRs while
 * addresses flap.
 */
function abandon(state: RotationState, now: Instant): Transition {
  const abandoned = state.abandoned + 1;
  const idle: RotationState = {
    ...state,
    abandoned,
    notBefore: now + requestDelay(abandoned),
    phase: { kind: 'idle', since: now },
  };
  const reason = dueReason(idle, now);
  if (reason === undefined || blockedBy(idle, now) !== undefined) {
    return { state: idle, effects: [{ type: 'abandon' }] };
  }
  const next = enroll(idle, reason, now);
  return { state: next.state, effects: [{ type: 'abandon' }, ...next.effects] };
}

function remind(
  state: RotationState,
  phase: Extract<Phase, { kind: 'enrolling' }>,
  now: Instant,
): Transition {
  const { csr, stage, stageSince, remindedAt } = phase;
  if (csr === undefined || stage === 'issued' || stage === 'requesting') return noEffects(state);
  const reminded = remindedAt === undefined ? undefined : remindedAt - stageSince;
  if (now < stageSince + reminderInterval(reminded)) return noEffects(state);
  const type = stage === 'approved' ? 'remind-signer' : 'remind-approver';
  return {
    state: { ...state, phase: { ...phase, remindedAt: now } },
    effects: [{ type, csr, ms: now - stageSince }],
  };
}

function inspected(
  state: RotationState,
  { pair, observed = false }: Extract<RotationEvent, { type: 'inspected' }>,
  context: RotationContext,
): Transition {
  const { phase, effects } = afterInspection(state, observed, context.now);
  const known = without(without({ ...state, phase, observed }, 'pair'), 'deadline');
  if (pair === undefined) return { state: known, effects };
  const deadline = deadlineAfterInspection(
    state,
    pair,
    observed ? observedDeadline(pair) : deadlineOf(pair, context),
  );
  return { state: { ...known, pair, deadline }, effects };
}

/** An enrollment ends when the kubelet takes over the rotation. */
function afterInspection(
  { phase }: RotationState,
  observed: boolean,
  now: Instant,
): { readonly phase: Phase; readonly effects: readonly RotationEffect[] } {
  const idlePhase: Phase = { kind: 'idle', since: now };
  if (phase.kind === 'inspecting') return { phase: idlePhase, effects: [] };
  if (!observed || phase.kind === 'idle') return { phase, effects: [] };
  const hasKey = phase.kind === 'enrolling' || phase.template !== undefined;
  return { phase: idlePhase, effects: hasKey ? [{ type: 'abandon' }] : [] };
}

function deadlineOf(
  pair: PairFacts,
  { now, window, fraction }: RotationContext,
  replaced?: PairFacts,
): Instant {
  return rotationDeadline(pair, fraction(pair.serial), { window, replaced, now });
}

/**
 * For a pair that this run stored, the deadline also depends on the previous pair and on the time
 * of storing. An inspection knows neither, so it must not make the deadline earlier.
 */
function deadlineAfterInspection(
  { pair, deadline: known, storedAt }: RotationState,
  { serial, notAfter }: PairFacts,
  deadline: Instant,
): Instant {
  const same = pair?.serial === serial && pair.notAfter === notAfter;
  return same && storedAt !== undefined ? Math.max(deadline, known ?? 0) : deadline;
}

function updateProgress(
  state: RotationState,
  { stage, csr }: Extract<RotationEvent, { type: 'progress' }>,
  now: Instant,
): RotationState {
  const { phase } = state;
  if (phase.kind !== 'enrolling') return state;
  if (phase.stage === stage) return { ...state, phase: { ...phase, csr } };
  const next: Phase = { ...without(phase, 'remindedAt'), stage, stageSince: now, csr };
  // The status must not show a past failure.
  return { ...without(state, 'lastFailure'), phase: next };
}

/**
 * The pair that a stored one replaces. An inspection can find the stored pair before the
 * report that it is stored, and a pair does not replace itself.
 */
export function replacedPair(
  { pair, phase }: RotationState,
  stored: PairFacts,
): PairFacts | undefined {
  if (pair?.serial !== stored.serial) return pair;
  return phase.kind === 'enrolling' ? phase.replaces : undefined;
}

function stored(state: RotationState, pair: PairFacts, context: RotationContext): RotationState {
  const { now } = context;
  const storedAt = storedMoment(pair.storedAt, now);
  return {
    ...without(state, 'renewalAt'),
    phase: { kind: 'idle', since: now },
    pair,
    deadline: deadlineOf({ ...pair, storedAt }, context, replacedPair(state, pair)),
    storedAt: now,
    rotations: state.rotations + 1,
    abandoned: 0,
  };
}

/**
 * The previous pair is usually due for rotation. The next request waits, because the server would
 * probably not load the next certificate either. An enrollment that is in progress or waits for
 * its retry continues, because it leads to a new pair in any case.
 */
function rolledBack(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'rolled-back' }>,
  context: RotationContext,
): RotationState {
  const { pair, failure, count, until } = event;
  const { now, random } = context;
  const known: RotationState = { ...state, pair, deadline: deadlineOf(pair, context) };
  const { phase, observed } = state;
  if (phase.kind === 'enrolling' || observed) return known;
  if (phase.kind === 'backing-off' && phase.template !== undefined) return known;
  const chosen = retryDelay(failure, count, random);
  // Another run chose `until`, perhaps with a wrong clock, so limit the delay to the longest
  // possible one.
  const wait = until === undefined ? chosen : clamp(until - now, 0, longestDelay(failure));
  const delay = delayAfterRollback(wait, pair.notAfter - now);
  return {
    ...known,
    ...countFailure(state, failure),
    lastFailure: { ...failure, at: now },
    phase: { kind: 'backing-off', since: now, delay, retry: 'enroll' },
  };
}

/** The retry continues with the same key and CSR if the enroller still has them. */
function failed(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'failed' }>,
  { now, random }: RotationContext,
): RotationState {
  const { phase } = state;
  const count = countFailure(state, event.failure);
  const resumed =
    event.resumable && phase.kind === 'enrolling'
      ? { template: phase.template, ...(phase.csr !== undefined && { csr: phase.csr }) }
      : {};
  return {
    ...state,
    ...count,
    lastFailure: { ...event.failure, at: now },
    phase: {
      kind: 'backing-off',
      since: now,
      delay: retryDelay(event.failure, count.streak, random),
      retry: 'enroll',
      ...resumed,
    },
  };
}

/** An hour of network failures must not lengthen the delay after the first denial. */
function countFailure(
  { failures, streak, lastCode }: RotationState,
  { code }: Failure,
): Required<Pick<RotationState, 'failures' | 'streak' | 'lastCode'>> {
  const same = lastCode !== undefined && sameBackoff(lastCode, code);
  return { failures: failures + 1, streak: same ? streak + 1 : 1, lastCode: code };
}

function inspectionFailed(
  state: RotationState,
  failure: Failure,
  { now, random }: RotationContext,
): RotationState {
  const count = countFailure(state, failure);
  const lastFailure = { ...failure, at: now };
  if (state.phase.kind !== 'inspecting') {
    return { ...state, lastFailure, lastCode: state.lastCode ?? failure.code };
  }
  const delay = retryDelay(failure, count.streak, random);
  return {
    ...state,
    ...count,
    lastFailure,
    phase: { kind: 'backing-off', since: now, delay, retry: 'inspect' },
  };
}

function retry(
  state: RotationState,
  phase: Extract<Phase, { kind: 'backing-off' }>,
  now: Instant,
): Transition {
  const idle: RotationState = { ...state, phase: { kind: 'idle', since: now } };
  if (phase.retry === 'inspect') {
    return {
      state: { ...state, phase: { kind: 'inspecting', since: now } },
      effects: [{ type: 'inspect' }],
    };
  }
  const reason = dueReason(idle, now);
  if (reason === undefined) {
    const clear = clearFailures(idle);
    const abandon: RotationEffect[] = phase.template === undefined ? [] : [{ type: 'abandon' }];
    return { state: clear.state, effects: [...abandon, ...clear.effects] };
  }
  // The enroller keeps the key and the CSR until the retry is no longer blocked.
  if (blockedBy(idle, now) !== undefined) return noEffects(state);
  return enroll(idle, reason, now);
}

function noEffects(state: RotationState): Transition {
  return { state, effects: [] };
}
