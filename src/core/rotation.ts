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
  sameKind,
  serverClockCheckSpread,
  templateSettleTime,
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
  const rebased = rebase(state, context);
  const applied = apply(rebased.state, event, context);
  const next = advance(checkServerClock(applied.state, context), context);
  return { state: next.state, effects: [rebased, applied, next].flatMap(({ effects }) => effects) };
}

/** After the clock was set back, every delay restarts instead of lasting until the old time. */
function rebase(state: RotationState, { now }: RotationContext): Transition {
  const { phase, storedAt } = state;
  const since = phase.kind === 'enrolling' ? phase.stageSince : phase.since;
  if (since <= now) return only(state);
  const notBefore = now + Math.max(state.notBefore - since, 0);
  const rebased = { ...state, notBefore, phase: restarted(phase, state.lastFailure?.code, now) };
  if (storedAt === undefined || storedAt <= now) return only(rebased);
  // The deadline counts from a clock that was ahead; an inspection computes it again.
  return filesChanged(without(rebased, 'storedAt'), now);
}

/**
 * For a pair that is not valid yet. Usually the node's clock is behind and is soon set; a new
 * certificate would change nothing. But if the clocks of the whole cluster were ahead and were
 * set back, the pair stays unusable for as long as that was, perhaps years. Only the API
 * server can tell the two apart, so the enroller compares clocks before it requests anything.
 */
function checkServerClock(state: RotationState, { now, random }: RotationContext): RotationState {
  // Without a client certificate we cannot ask the API server; try again once there is one.
  if (!isEarly(state, now) || !state.identityReady) {
    return state.checkServerClockAt === undefined ? state : without(state, 'checkServerClockAt');
  }
  const planned = state.checkServerClockAt ?? now + minute + random * serverClockCheckSpread;
  const latest = now + minute + serverClockCheckSpread;
  return { ...state, checkServerClockAt: Math.min(planned, latest) };
}

function restarted(phase: Phase, code: string | undefined, now: Instant): Phase {
  switch (phase.kind) {
    case 'enrolling':
      return without({ ...phase, since: now, stageSince: now }, 'remindedAt');
    case 'backing-off':
      return { ...phase, since: now, delay: dependsOnClock.has(code) ? 0 : phase.delay };
    case 'inspecting':
    case 'resting':
      return { ...phase, since: now };
    default:
      return phase satisfies never;
  }
}

/** Something had expired by a clock that was ahead, so it may be valid by the corrected one. */
const dependsOnClock = new Set<string | undefined>([
  'CERT_EXPIRED',
  'CREDENTIAL_EXPIRED',
  'API_UNTRUSTED',
]);

function apply(state: RotationState, event: RotationEvent, context: RotationContext): Transition {
  const { now } = context;
  switch (event.type) {
    case 'tick':
      return only(state);
    case 'inspected':
      return inspected(state, event, context);
    case 'template':
      return only(
        event.template === undefined
          ? without(state, 'template')
          : { ...state, template: event.template },
      );
    case 'identity':
      return only({ ...state, identityReady: event.ready });
    case 'progress':
      return only(progressed(state, event, now));
    case 'stored':
      return only(stored(state, event.pair, context));
    case 'failed':
      return only(failed(state, event, context));
    case 'inspection-failed':
      return only(inspectionFailed(state, event.failure, context));
    case 'rolled-back':
      return only(rolledBack(state, event, context));
    case 'renew':
      return only(renewing(state, now));
    case 'files-changed':
      return filesChanged(state, now);
    case 'credential-changed':
      return only(credentialChanged(state));
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
 * An administrator overrides every delay: a denied CSR may be approved now. A pending CSR
 * is kept, because its key has never been on a disk and is as good as a new one.
 */
function renewing(state: RotationState, now: Instant): RotationState {
  const { phase, renewalAt = now } = state;
  const notBefore = Math.min(state.notBefore, now);
  const hurried = phase.kind === 'backing-off' ? { ...phase, delay: 0 } : phase;
  return { ...state, renewalAt, notBefore, phase: hurried };
}

/** An enrollment goes on while the directory is inspected. */
function filesChanged(state: RotationState, now: Instant): Transition {
  const phase: Phase =
    state.phase.kind === 'resting' ? { kind: 'inspecting', since: now } : state.phase;
  return { state: { ...state, phase }, effects: [{ type: 'inspect' }] };
}

/** Starts whatever is due in the new state. */
function advance(state: RotationState, { now }: RotationContext): Transition {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return only(state);
    case 'resting': {
      const reason = dueReason(state, now);
      if (reason === undefined) return clearFailures(state);
      return blockedBy(state, now) === undefined ? enroll(state, reason, now) : only(state);
    }
    case 'enrolling':
      return superviseRequest(state, phase, now);
    case 'backing-off':
      return now >= retryAt(phase) ? retry(state, phase, now) : only(state);
    default:
      return phase satisfies never;
  }
}

/** A usable pair clears the failure history, no matter what installed it. */
function clearFailures(state: RotationState): Transition {
  const { failures, lastCode } = state;
  if (lastCode === undefined) return only(state);
  return {
    state: { ...without(without(state, 'lastFailure'), 'lastCode'), failures: 0, streak: 0 },
    // An inspection that failed during an enrollment was logged but not counted.
    effects: [{ type: 'recovered', failures: Math.max(failures, 1) }],
  };
}

function enroll(state: RotationState, reason: DueReason, now: Instant): Transition {
  const { template } = state;
  if (template === undefined) return only(state);
  return {
    state: {
      ...state,
      phase: { kind: 'enrolling', since: now, stage: 'requesting', stageSince: now, template },
    },
    effects: [{ type: 'enroll', template, reason }],
  };
}

/** Abandons a request whose template has changed, and reminds of one that is not approved or issued. */
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
  const abandonAt = phase.abandonAt ?? now + templateSettleTime;
  if (now < abandonAt && abandonAt - now <= templateSettleTime) {
    return only({ ...state, phase: { ...phase, abandonAt } });
  }
  return abandon(state, now);
}

/** Each abandoned CSR stays on the API server, so addresses that flap must not fill it. */
function abandon(state: RotationState, now: Instant): Transition {
  const abandoned = state.abandoned + 1;
  const rested: RotationState = {
    ...state,
    abandoned,
    notBefore: now + requestDelay(abandoned),
    phase: { kind: 'resting', since: now },
  };
  const reason = dueReason(rested, now);
  if (reason === undefined || blockedBy(rested, now) !== undefined) {
    return { state: rested, effects: [{ type: 'abandon' }] };
  }
  const next = enroll(rested, reason, now);
  return { state: next.state, effects: [{ type: 'abandon' }, ...next.effects] };
}

function remind(
  state: RotationState,
  phase: Extract<Phase, { kind: 'enrolling' }>,
  now: Instant,
): Transition {
  const { csr, stage, stageSince, remindedAt } = phase;
  if (csr === undefined || stage === 'issued' || stage === 'requesting') return only(state);
  const reminded = remindedAt === undefined ? undefined : remindedAt - stageSince;
  if (now < stageSince + reminderInterval(reminded)) return only(state);
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
  const deadline = deadlineOfFound(
    state,
    pair,
    observed ? observedDeadline(pair) : due(pair, context),
  );
  return { state: { ...known, pair, deadline }, effects };
}

/** An enrollment ends when something else takes over the rotation. */
function afterInspection(
  { phase }: RotationState,
  observed: boolean,
  now: Instant,
): { readonly phase: Phase; readonly effects: readonly RotationEffect[] } {
  const resting: Phase = { kind: 'resting', since: now };
  if (phase.kind === 'inspecting') return { phase: resting, effects: [] };
  if (!observed || phase.kind === 'resting') return { phase, effects: [] };
  const held = phase.kind === 'enrolling' || phase.template !== undefined;
  return { phase: resting, effects: held ? [{ type: 'abandon' }] : [] };
}

function due(pair: PairFacts, { now, fraction }: RotationContext, replaced?: PairFacts): Instant {
  return rotationDeadline(pair, fraction(pair.serial), { replaced, now });
}

/**
 * An inspection does not see which pair came before the one that this run stored, nor when
 * it was stored, and both can postpone the deadline.
 */
function deadlineOfFound(
  { pair, deadline: known, storedAt }: RotationState,
  { serial, notAfter }: PairFacts,
  deadline: Instant,
): Instant {
  const same = pair?.serial === serial && pair.notAfter === notAfter;
  return same && storedAt !== undefined ? Math.max(deadline, known ?? 0) : deadline;
}

function progressed(
  state: RotationState,
  { stage, csr }: Extract<RotationEvent, { type: 'progress' }>,
  now: Instant,
): RotationState {
  const { phase } = state;
  if (phase.kind !== 'enrolling') return state;
  if (phase.stage === stage) return { ...state, phase: { ...phase, csr } };
  const next: Phase = { ...without(phase, 'remindedAt'), stage, stageSince: now, csr };
  // The status must not show a failure that is over.
  return { ...without(state, 'lastFailure'), phase: next };
}

function stored(state: RotationState, pair: PairFacts, context: RotationContext): RotationState {
  const { now } = context;
  const storedAt = storedMoment(pair.storedAt, now);
  return {
    ...without(state, 'renewalAt'),
    phase: { kind: 'resting', since: now },
    pair,
    deadline: due({ ...pair, storedAt }, context, state.pair),
    storedAt: now,
    rotations: state.rotations + 1,
    abandoned: 0,
  };
}

/**
 * The previous pair is usually due, and a new one requested at once would fare no better
 * than the last. An enrollment in progress, or held for a retry, goes on: it brings a new
 * pair in any case.
 */
function rolledBack(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'rolled-back' }>,
  context: RotationContext,
): RotationState {
  const { pair, failure, count, until } = event;
  const { now, random } = context;
  const known: RotationState = { ...state, pair, deadline: due(pair, context) };
  const { phase, observed } = state;
  if (phase.kind === 'enrolling' || observed) return known;
  if (phase.kind === 'backing-off' && phase.template !== undefined) return known;
  const drawn = retryDelay(failure, count, random);
  // Drawn by another run, perhaps under another clock: no longer than it can be drawn.
  const wait = until === undefined ? drawn : clamp(until - now, 0, longestDelay(failure));
  const delay = delayAfterRollback(wait, pair.notAfter - now);
  return {
    ...known,
    ...counted(state, failure),
    lastFailure: { ...failure, at: now },
    phase: { kind: 'backing-off', since: now, delay, retry: 'enroll' },
  };
}

/** What the enroller still holds is kept for the retry: one key and one CSR until it is decided. */
function failed(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'failed' }>,
  { now, random }: RotationContext,
): RotationState {
  const { phase } = state;
  const count = counted(state, event.failure);
  const held =
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
      ...held,
    },
  };
}

/** An hour of network failures must not lengthen the delay after the first denial. */
function counted(
  { failures, streak, lastCode }: RotationState,
  { code }: Failure,
): Required<Pick<RotationState, 'failures' | 'streak' | 'lastCode'>> {
  const same = lastCode !== undefined && sameKind(lastCode, code);
  return { failures: failures + 1, streak: same ? streak + 1 : 1, lastCode: code };
}

function inspectionFailed(
  state: RotationState,
  failure: Failure,
  { now, random }: RotationContext,
): RotationState {
  const count = counted(state, failure);
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
  const rested: RotationState = { ...state, phase: { kind: 'resting', since: now } };
  if (phase.retry === 'inspect') {
    return {
      state: { ...state, phase: { kind: 'inspecting', since: now } },
      effects: [{ type: 'inspect' }],
    };
  }
  const reason = dueReason(rested, now);
  if (reason === undefined) {
    const clear = clearFailures(rested);
    const held: RotationEffect[] = phase.template === undefined ? [] : [{ type: 'abandon' }];
    return { state: clear.state, effects: [...held, ...clear.effects] };
  }
  // The enroller keeps the key and the CSR until the retry is no longer blocked.
  if (blockedBy(rested, now) !== undefined) return only(state);
  return enroll(rested, reason, now);
}

function only(state: RotationState): Transition {
  return { state, effects: [] };
}
