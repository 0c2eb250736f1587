import { longestDelay, retryDelay, sameKind } from './backoff.ts';
import type { PairFacts } from './certificate.ts';
import type { Failure } from './errors.ts';
import { sameTemplate } from './identity.ts';
import { minute, second } from './instant.ts';
import type { Instant } from './instant.ts';
import { clamp, leftBehindDelay, restAfterRollBack } from './schedule.ts';
import { without } from './without.ts';
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

/**
 * Rotation of one certificate as a pure state machine: `step(state, event, context)`
 * says what the new state is and what is to be done. It decides everything that
 * has to do with time, and reads no clock.
 */

/** A template has to hold this long before a request under way is given up for it: addresses tend to arrive in pieces. */
export const templateSettle = 15 * second;

export function step(
  state: RotationState,
  event: RotationEvent,
  context: RotationContext,
): Transition {
  const rebased = rebase(state, context.now);
  const applied = apply(rebased.state, event, context);
  const next = advance(doubted(applied.state, context), context);
  return { state: next.state, effects: [rebased, applied, next].flatMap(({ effects }) => effects) };
}

/** A clock set back starts every delay anew instead of stretching it. */
function rebase(state: RotationState, now: Instant): Transition {
  const { phase, storedAt } = state;
  const since = phase.kind === 'enrolling' ? phase.stageSince : phase.since;
  if (since <= now) return only(state);
  const notBefore = now + Math.max(state.notBefore - since, 0);
  const rebased = { ...state, notBefore, phase: restarted(phase, state.lastFailure?.code, now) };
  if (storedAt === undefined || storedAt <= now) return only(rebased);
  // Stored by a clock that was ahead, and the deadline counts from there: it is found anew.
  return disturbed(without(rebased, 'storedAt'), now);
}

/**
 * A pair that is not valid yet: mostly the clock of the node is behind, and is set
 * within a minute; asking for another pair would change nothing. But when the clocks of
 * the whole cluster were ahead and are set back, nobody accepts any pair until its time
 * comes, which may be years. The API server knows which of the two it is, and is asked;
 * not by all nodes at once.
 */
function doubted(state: RotationState, { now, chance }: RotationContext): RotationState {
  // Who has no identity asks nothing, and will have his own time to do so.
  if (!isEarly(state, now) || !state.identityReady) {
    return state.doubtAt === undefined ? state : without(state, 'doubtAt');
  }
  const doubtAt = state.doubtAt ?? now + minute + chance * doubtSpread;
  return { ...state, doubtAt: Math.min(doubtAt, now + minute + doubtSpread) };
}

/**
 * Client certificates first, serving ones in the same time after that: nine requests by
 * each of 100,000 nodes, 620 a second where they meet. All day they may ask 333.
 */
const doubtSpread = 20 * minute;

function restarted(phase: Phase, code: string | undefined, now: Instant): Phase {
  switch (phase.kind) {
    case 'enrolling':
      return without({ ...phase, since: now, stageSince: now }, 'remindedAt');
    case 'backing-off':
      return { ...phase, since: now, delay: foundTooLate.has(code) ? 0 : phase.delay };
    case 'inspecting':
    case 'resting':
      return { ...phase, since: now };
    default:
      return phase satisfies never;
  }
}

/** Something was past its end by a clock that was ahead: now that it is set, another look is worth its while. */
const foundTooLate = new Set<string | undefined>([
  'CERT_EXPIRED',
  'CREDENTIAL_EXPIRED',
  'API_UNTRUSTED',
]);

/** Takes in what happened. */
function apply(state: RotationState, event: RotationEvent, context: RotationContext): Transition {
  const { now } = context;
  switch (event.type) {
    case 'tick':
      return only(state);
    case 'inspected':
      return inspected(state, event, now);
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
      return only(stored(state, event, now));
    case 'failed':
      return only(failed(state, event, context));
    case 'inspection-failed':
      return only(inspectionFailed(state, event.failure, context));
    case 'rolled-back':
      return only(rolledBack(state, event, context));
    case 'renew':
      return only(renewing(state, now));
    case 'disturbed':
      return disturbed(state, now);
    case 'credential-changed':
      return only(
        state.phase.kind === 'backing-off' && hopesForCredential.has(state.lastFailure?.code)
          ? { ...state, phase: { ...state.phase, delay: 0 } }
          : state,
      );
    default:
      return event satisfies never;
  }
}

const hopesForCredential = new Set<string | undefined>([
  'API_UNAUTHORIZED',
  'API_FORBIDDEN',
  'API_UNTRUSTED',
  'API_UNREACHABLE',
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
  'KUBECONFIG_UNSUPPORTED',
  'CREDENTIAL_EXPIRED',
  'PLUGIN_FAILED',
]);

/**
 * A person knows better than any delay: what was denied may be approved now, and what
 * crashed may be mended. A request under way is for a key that nobody has seen yet, and
 * as good as another.
 */
function renewing(state: RotationState, now: Instant): RotationState {
  const { phase, renewalAt = now } = state;
  const notBefore = Math.min(state.notBefore, now);
  const hurried = phase.kind === 'backing-off' ? { ...phase, delay: 0 } : phase;
  return { ...state, renewalAt, notBefore, phase: hurried };
}

/** A request under way goes on while the directory is looked at. */
function disturbed(state: RotationState, now: Instant): Transition {
  const phase: Phase =
    state.phase.kind === 'resting' ? { kind: 'inspecting', since: now } : state.phase;
  return { state: { ...state, phase }, effects: [{ type: 'inspect' }] };
}

/** Does what the new state calls for. */
function advance(state: RotationState, { now }: RotationContext): Transition {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return only(state);
    case 'resting': {
      const reason = dueReason(state, now);
      if (reason === undefined) return allClear(state);
      return blockedBy(state, now) === undefined ? enroll(state, reason, now) : only(state);
    }
    case 'enrolling':
      return watchOver(state, phase, now);
    case 'backing-off':
      return now >= retryAt(phase) ? retry(state, phase, now) : only(state);
    default:
      return phase satisfies never;
  }
}

/** A pair that does ends every story of failure, whoever put it there. */
function allClear(state: RotationState): Transition {
  const { failures, lastCode } = state;
  if (lastCode === undefined) return only(state);
  return {
    state: { ...without(without(state, 'lastFailure'), 'lastCode'), failures: 0, streak: 0 },
    // A look that failed beside a request is not counted, and was told of all the same.
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

/** Looks after a request under way: a changed template, an approver who does not come. */
function watchOver(
  state: RotationState,
  phase: Extract<Phase, { kind: 'enrolling' }>,
  now: Instant,
): Transition {
  const { template } = state;
  const changed = template !== undefined && !sameTemplate(template, phase.template);
  if (!changed) {
    const settled = without(phase, 'abandonAt');
    return remind({ ...state, phase: settled }, settled, now);
  }
  const abandonAt = phase.abandonAt ?? now + templateSettle;
  if (now < abandonAt && abandonAt - now <= templateSettle) {
    return only({ ...state, phase: { ...phase, abandonAt } });
  }
  // Each abandoned request stays on the API server: addresses that flap must not fill it.
  const abandoned = state.abandoned + 1;
  const rested: RotationState = {
    ...state,
    abandoned,
    notBefore: now + leftBehindDelay(abandoned),
    phase: { kind: 'resting', since: now },
  };
  const reason = dueReason(rested, now);
  if (reason === undefined || blockedBy(rested, now) !== undefined) {
    return { state: rested, effects: [{ type: 'abandon' }] };
  }
  const next = enroll(rested, reason, now);
  return { state: next.state, effects: [{ type: 'abandon' }, ...next.effects] };
}

/** Says after a minute who keeps the request waiting, and again each time that has lasted four times as long. */
function remind(
  state: RotationState,
  phase: Extract<Phase, { kind: 'enrolling' }>,
  now: Instant,
): Transition {
  const { csr, stage, stageSince, remindedAt } = phase;
  if (csr === undefined || stage === 'issued' || stage === 'requesting') return only(state);
  const due = stageSince + Math.max(minute, 4 * ((remindedAt ?? stageSince) - stageSince));
  if (now < due) return only(state);
  const type = stage === 'approved' ? 'remind-signer' : 'remind-approver';
  return {
    state: { ...state, phase: { ...phase, remindedAt: now } },
    effects: [{ type, csr, ms: now - stageSince }],
  };
}

function inspected(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'inspected' }>,
  now: Instant,
): Transition {
  const { observed = false } = event;
  const { phase, effects } = afterLook(state, observed, now);
  const known = without(without({ ...state, phase, observed }, 'pair'), 'deadline');
  if (event.pair === undefined || event.deadline === undefined) return { state: known, effects };
  const deadline = deadlineAfterLook(state, event.pair, event.deadline);
  return { state: { ...known, pair: event.pair, deadline }, effects };
}

/** A request that is under way when somebody else takes over is given up. */
function afterLook(
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

/**
 * A second look at the pair that this run stored knows nothing of the one before it, and
 * of a deadline put off for that, nor of the moment at which it was stored.
 */
export function deadlineAfterLook(
  state: RotationState,
  { serial, notAfter }: PairFacts,
  deadline: Instant,
): Instant {
  const { pair, deadline: known, storedAt } = state;
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
  // What failed before is overcome: a status that still names it would mislead.
  return { ...without(state, 'lastFailure'), phase: next };
}

function stored(
  state: RotationState,
  { pair, deadline }: Extract<RotationEvent, { type: 'stored' }>,
  now: Instant,
): RotationState {
  const phase: Phase = { kind: 'resting', since: now };
  const rotations = state.rotations + 1;
  const renewed = without(state, 'renewalAt');
  return { ...renewed, phase, pair, deadline, storedAt: now, rotations, abandoned: 0 };
}

/**
 * The old pair is there again, and mostly due to be replaced: at once, it would be by
 * one that fares no better. Whatever is under way, or held for the next try, stays as it
 * is: it brings another pair in any case.
 */
function rolledBack(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'rolled-back' }>,
  { now, chance }: RotationContext,
): RotationState {
  const { pair, deadline, failure, count, until } = event;
  const known: RotationState = { ...state, pair, deadline };
  const { phase, observed } = state;
  if (phase.kind === 'enrolling' || observed) return known;
  if (phase.kind === 'backing-off' && phase.template !== undefined) return known;
  const drawn = retryDelay(failure, count, chance);
  // Of another clock, perhaps: no longer than it could have been drawn.
  const wait = until === undefined ? drawn : clamp(until - now, 0, longestDelay(failure));
  const delay = restAfterRollBack(wait, pair.notAfter - now);
  return {
    ...known,
    ...counted(state, failure),
    lastFailure: { ...failure, at: now },
    phase: { kind: 'backing-off', since: now, delay, retry: 'enroll' },
  };
}

/** What the enroller still holds after a failure is kept for the next try: one key and one CSR until decided. */
function failed(
  state: RotationState,
  event: Extract<RotationEvent, { type: 'failed' }>,
  { now, chance }: RotationContext,
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
      delay: retryDelay(event.failure, count.streak, chance),
      retry: 'enroll',
      ...held,
    },
  };
}

/** One bad hour of the network must not lend its delays to the first denial after it. */
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
  { now, chance }: RotationContext,
): RotationState {
  const count = counted(state, failure);
  const lastFailure = { ...failure, at: now };
  if (state.phase.kind !== 'inspecting') {
    return { ...state, lastFailure, lastCode: state.lastCode ?? failure.code };
  }
  const delay = retryDelay(failure, count.streak, chance);
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
    const clear = allClear(rested);
    const held: RotationEffect[] = phase.template === undefined ? [] : [{ type: 'abandon' }];
    return { state: clear.state, effects: [...held, ...clear.effects] };
  }
  // What the enroller holds is kept until the way is free again.
  if (blockedBy(rested, now) !== undefined) return only(state);
  return enroll(rested, reason, now);
}

function only(state: RotationState): Transition {
  return { state, effects: [] };
}
