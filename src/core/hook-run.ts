import { retryDelay, servedCheckDelay } from './timing.ts';
import type { ErrorCode } from './errors.ts';
import { without } from './without.ts';

/**
 * The work after a rotation of one certificate, as a pure state machine: its hooks in order,
 * then the check of the served certificate, then a rollback if that is configured. Key pairs
 * are named by their serials. A newer pair waits for the running hook or check to end, and
 * then everything starts again for the newest one, however many came in the meantime.
 */

export interface HookState {
  readonly phase: HookPhase;
  /** The newest pair that was stored or rolled back to. */
  readonly latest?: string;
  /** The pair for which a hook has not succeeded yet, or that is not served yet. */
  readonly pending?: string;
  /** Hooks, by position, whose last run failed. */
  readonly failing: readonly number[];
  /** The pair that is not served, as last reported. */
  readonly stale?: string;
  /** A pair that must not be rolled back: a rollback linked it, or its own rollback failed. */
  readonly kept?: string;
}

export type HookPhase =
  | { readonly kind: 'idle' }
  | ({ readonly kind: 'trying' | 'pausing'; readonly serial: string } & Try)
  | { readonly kind: 'checking' | 'watching'; readonly serial: string; readonly checks: number }
  | { readonly kind: 'rolling-back'; readonly serial: string };

interface Try {
  /** Position in the list. */
  readonly hook: number;
  /** Counts from 1. */
  readonly attempt: number;
}

export type HookEvent =
  /** The agent has linked this pair. */
  | { readonly type: 'stored'; readonly serial: string }
  /** A hook has ended; `final` if a retry would fail again. */
  | { readonly type: 'tried'; readonly code?: ErrorCode; readonly final?: true }
  | { readonly type: 'waited' }
  | { readonly type: 'checked'; readonly verdict: Verdict }
  | { readonly type: 'rolled-back'; readonly serial: string }
  | { readonly type: 'not-rolled-back' };

/** 'overtaken' if another pair is on the disk; 'unknown' if the check failed. */
export type Verdict = 'current' | 'stale' | 'overtaken' | 'unknown';

export type HookEffect =
  | ({ readonly type: 'try'; readonly serial: string } & Try)
  /** Report a failed attempt that is followed by another. */
  | ({ readonly type: 'retrying'; readonly ms: number } & Try)
  /** Report that the last attempt failed. */
  | ({ readonly type: 'gave-up' } & Try)
  | { readonly type: 'succeeded'; readonly hook: number; readonly recovered: boolean }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'stop-waiting' }
  /** `patient` gives the servers time to reload; a repeated check does not. */
  | { readonly type: 'check'; readonly serial: string; readonly patient: boolean }
  | { readonly type: 'current'; readonly serial: string; readonly recovered: boolean }
  | { readonly type: 'stale' | 'unchecked' }
  | { readonly type: 'roll-back'; readonly serial: string }
  /** Nothing is left to do for this pair. */
  | { readonly type: 'finished'; readonly serial: string };

export interface HookContext {
  /** Retries of each hook. */
  readonly retries: readonly number[];
  /** What to do if the served certificate does not match; absent if it is not checked. */
  readonly check?: 'report' | 'rollback';
  /** No request is in progress that will store another pair soon. */
  readonly atRest: boolean;
  /** In [0, 1). */
  readonly random: number;
}

export interface HookTransition {
  readonly state: HookState;
  readonly effects: readonly HookEffect[];
}

/** @param kept the pair that an earlier run rolled back to */
export function initialHookState(kept?: string): HookState {
  return { phase: { kind: 'idle' }, failing: [], ...(kept !== undefined && { kept }) };
}

export function hookStep(state: HookState, event: HookEvent, context: HookContext): HookTransition {
  switch (event.type) {
    case 'stored':
      return stored(state, event.serial, context);
    case 'tried':
      return tried(state, event, context);
    case 'waited':
      return waited(state);
    case 'checked':
      return checked(state, event.verdict, context);
    case 'rolled-back': {
      if (state.phase.kind !== 'rolling-back') return only(state);
      const { serial } = event;
      return begin({ ...state, latest: serial, pending: serial, kept: serial }, serial, context);
    }
    case 'not-rolled-back': {
      const { phase } = state;
      if (phase.kind !== 'rolling-back') return only(state);
      const next = { ...state, kept: phase.serial };
      return (
        startNewer(next, phase.serial, context) ?? watch(next, { ...phase, checks: 0 }, context)
      );
    }
    default:
      return event satisfies never;
  }
}

function stored(state: HookState, serial: string, context: HookContext): HookTransition {
  if (serial === state.latest) return only(state);
  const next: HookState = { ...state, latest: serial, pending: serial };
  switch (state.phase.kind) {
    case 'idle':
      return begin(next, serial, context);
    case 'pausing':
    case 'watching':
      return after([{ type: 'stop-waiting' }], begin(next, serial, context));
    // Starts when the running hook, check or rollback ends.
    case 'trying':
    case 'checking':
    case 'rolling-back':
      return only(next);
    default:
      return state.phase satisfies never;
  }
}

function begin(state: HookState, serial: string, context: HookContext): HookTransition {
  return attempt(state, { serial, hook: 0, attempt: 1 }, context);
}

/** The next attempt, or the check after the last hook. */
function attempt(
  state: HookState,
  next: Try & { readonly serial: string },
  context: HookContext,
): HookTransition {
  const { serial } = next;
  if (next.hook < context.retries.length) {
    return {
      state: { ...state, phase: { kind: 'trying', ...next } },
      effects: [{ type: 'try', ...next }],
    };
  }
  if (context.check === undefined) return finish(state, serial);
  return {
    state: { ...state, phase: { kind: 'checking', serial, checks: 0 } },
    effects: [{ type: 'check', serial, patient: true }],
  };
}

function tried(
  state: HookState,
  { code, final }: Extract<HookEvent, { type: 'tried' }>,
  context: HookContext,
): HookTransition {
  const { phase } = state;
  if (phase.kind !== 'trying') return only(state);
  const newer = startNewer(state, phase.serial, context);
  if (newer !== undefined) return newer;
  const { serial, hook, attempt: tries } = phase;
  const others = state.failing.filter((position) => position !== hook);
  const next = { serial, hook: hook + 1, attempt: 1 };
  if (code === undefined) {
    const recovered = others.length < state.failing.length;
    const effect: HookEffect = { type: 'succeeded', hook, recovered };
    return after([effect], attempt({ ...state, failing: others }, next, context));
  }
  if (final === undefined && tries <= (context.retries[hook] ?? 0)) {
    const ms = retryDelay({ code, message: '' }, tries, context.random);
    return {
      state: { ...state, phase: { ...phase, kind: 'pausing' } },
      effects: [
        { type: 'retrying', hook, attempt: tries, ms },
        { type: 'wait', ms },
      ],
    };
  }
  // The next hooks run anyway: other programs depend on them.
  const failing = [...others, hook].sort((a, b) => a - b);
  const effect: HookEffect = { type: 'gave-up', hook, attempt: tries };
  return after([effect], attempt({ ...state, failing }, next, context));
}

function waited(state: HookState): HookTransition {
  const { phase } = state;
  if (phase.kind === 'pausing') {
    const { serial, hook } = phase;
    const next = { serial, hook, attempt: phase.attempt + 1 };
    return {
      state: { ...state, phase: { kind: 'trying', ...next } },
      effects: [{ type: 'try', ...next }],
    };
  }
  if (phase.kind !== 'watching') return only(state);
  return {
    state: { ...state, phase: { ...phase, kind: 'checking' } },
    effects: [{ type: 'check', serial: phase.serial, patient: false }],
  };
}

function checked(state: HookState, verdict: Verdict, context: HookContext): HookTransition {
  const { phase } = state;
  if (phase.kind !== 'checking') return only(state);
  const { serial } = phase;
  const newer = startNewer(state, serial, context);
  if (newer !== undefined) return newer;
  switch (verdict) {
    case 'current': {
      const recovered = state.stale !== undefined;
      const effect: HookEffect = { type: 'current', serial, recovered };
      return after([effect], finish(without(state, 'stale'), serial));
    }
    case 'stale':
      return stale(state, phase, context);
    case 'unknown': {
      const first: HookEffect[] = phase.checks === 0 ? [{ type: 'unchecked' }] : [];
      return after(first, watch(state, phase, context));
    }
    case 'overtaken':
      // Another program stored that pair, and has to reload its servers itself.
      return only({ ...without(state, 'stale'), phase: { kind: 'idle' } });
    default:
      return verdict satisfies never;
  }
}

function stale(
  state: HookState,
  phase: { readonly serial: string; readonly checks: number },
  context: HookContext,
): HookTransition {
  const { serial } = phase;
  const report: HookEffect[] = state.stale === serial ? [] : [{ type: 'stale' }];
  const known: HookState = { ...state, stale: serial };
  const canRollBack = context.check === 'rollback' && context.atRest && state.kept !== serial;
  if (!canRollBack) return after(report, watch(known, phase, context));
  return {
    state: { ...known, phase: { kind: 'rolling-back', serial } },
    effects: [...report, { type: 'roll-back', serial }],
  };
}

/** Checks again later, so that the warning ends when someone restarts the server. */
function watch(
  state: HookState,
  { serial, checks }: { readonly serial: string; readonly checks: number },
  { random }: HookContext,
): HookTransition {
  return {
    state: { ...state, phase: { kind: 'watching', serial, checks: checks + 1 } },
    effects: [{ type: 'wait', ms: servedCheckDelay(checks, random) }],
  };
}

function finish(state: HookState, serial: string): HookTransition {
  const idle: HookState = { ...state, phase: { kind: 'idle' } };
  // Still pending: the hooks run again at the next start of the agent, and may succeed then.
  if (state.failing.length > 0) return only(idle);
  return { state: without(idle, 'pending'), effects: [{ type: 'finished', serial }] };
}

/** Starts again for a pair that was stored while an older one was handled. */
function startNewer(
  state: HookState,
  serial: string,
  context: HookContext,
): HookTransition | undefined {
  const { pending } = state;
  return pending === undefined || pending === serial ? undefined : begin(state, pending, context);
}

function only(state: HookState): HookTransition {
  return { state, effects: [] };
}

function after(first: readonly HookEffect[], { state, effects }: HookTransition): HookTransition {
  return { state, effects: [...first, ...effects] };
}
