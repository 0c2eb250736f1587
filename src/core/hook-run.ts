import { retryDelay, servedCheckDelay } from './timing.ts';
import type { ErrorCode } from './errors.ts';
import { without } from './without.ts';

/**
 * What follows a rotation of one certificate, as a pure state machine: its hooks one
 * after the other, then the look at what is served, then perhaps the way back. It is
 * told of pairs by their serials. A newer pair waits for the end of the try under way
 * and has everything done once more, for itself: however many there were meanwhile,
 * they do not pile up.
 */

export interface HookState {
  readonly phase: HookPhase;
  /** The newest pair that it was told of. */
  readonly latest?: string;
  /** The pair for which not all is done: a hook has yet to succeed, or the server to take it over. */
  readonly owed?: string;
  /** Hooks, by position, whose last run failed. */
  readonly failing: readonly number[];
  /** The pair that was not found served, as last said. */
  readonly stale?: string;
  /** A pair that stays, whatever is served: the one gone back to, or one without a way back. */
  readonly stays?: string;
}

export type HookPhase =
  | { readonly kind: 'idle' }
  | ({ readonly kind: 'trying' | 'pausing'; readonly serial: string } & Try)
  | { readonly kind: 'checking' | 'watching'; readonly serial: string; readonly looks: number }
  | { readonly kind: 'rolling-back'; readonly serial: string };

interface Try {
  /** Position in the list. */
  readonly hook: number;
  /** From 1. */
  readonly attempt: number;
}

export type HookEvent =
  /** The agent has put this pair in place. */
  | { readonly type: 'stored'; readonly serial: string }
  /** A try is over; `final` where another one would be no use. */
  | { readonly type: 'tried'; readonly code?: ErrorCode; readonly final?: true }
  | { readonly type: 'waited' }
  | { readonly type: 'checked'; readonly verdict: Verdict }
  | { readonly type: 'rolled-back'; readonly serial: string }
  | { readonly type: 'not-rolled-back' };

/** 'overtaken' when another pair is on the disk by now; 'unknown' when nobody could look. */
export type Verdict = 'current' | 'stale' | 'overtaken' | 'unknown';

export type HookEffect =
  | ({ readonly type: 'try'; readonly serial: string } & Try)
  /** Tell of a failed try, after which there is another. */
  | ({ readonly type: 'retrying'; readonly ms: number } & Try)
  /** Tell of the last of them. */
  | ({ readonly type: 'gave-up' } & Try)
  | { readonly type: 'succeeded'; readonly hook: number; readonly recovered: boolean }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'stop-waiting' }
  /** `patient` gives the servers their time; a look that is repeated does not. */
  | { readonly type: 'check'; readonly serial: string; readonly patient: boolean }
  | { readonly type: 'current'; readonly serial: string; readonly recovered: boolean }
  | { readonly type: 'stale' | 'unchecked' }
  | { readonly type: 'roll-back'; readonly serial: string }
  /** All is done for this pair. */
  | { readonly type: 'settled'; readonly serial: string };

export interface HookContext {
  /** Further tries of each hook. */
  readonly retries: readonly number[];
  /** Whether what is served is looked at, and what comes of it. */
  readonly check?: 'report' | 'rollback';
  /** Nothing is under way that brings another pair in a moment. */
  readonly atRest: boolean;
  /** In [0, 1). */
  readonly random: number;
}

export interface HookTransition {
  readonly state: HookState;
  readonly effects: readonly HookEffect[];
}

/** @param stays the pair that an earlier run has gone back to */
export function initialHookState(stays?: string): HookState {
  return { phase: { kind: 'idle' }, failing: [], ...(stays !== undefined && { stays }) };
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
      return begin({ ...state, latest: serial, owed: serial, stays: serial }, serial, context);
    }
    case 'not-rolled-back': {
      const { phase } = state;
      if (phase.kind !== 'rolling-back') return only(state);
      const held = { ...state, stays: phase.serial };
      return (
        overtaking(held, phase.serial, context) ?? watch(held, { ...phase, looks: 0 }, context)
      );
    }
    default:
      return event satisfies never;
  }
}

function stored(state: HookState, serial: string, context: HookContext): HookTransition {
  if (serial === state.latest) return only(state);
  const next: HookState = { ...state, latest: serial, owed: serial };
  switch (state.phase.kind) {
    case 'idle':
      return begin(next, serial, context);
    case 'pausing':
    case 'watching':
      return after([{ type: 'stop-waiting' }], begin(next, serial, context));
    // The end of what is under way comes upon it.
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

/** The next try, or what comes after the last hook. */
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
    state: { ...state, phase: { kind: 'checking', serial, looks: 0 } },
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
  const newer = overtaking(state, phase.serial, context);
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
  // The others have users of their own, who would be left with an old certificate.
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
  const newer = overtaking(state, serial, context);
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
      const first: HookEffect[] = phase.looks === 0 ? [{ type: 'unchecked' }] : [];
      return after(first, watch(state, phase, context));
    }
    case 'overtaken':
      // Somebody else's pair: what is served of that is his affair.
      return only({ ...without(state, 'stale'), phase: { kind: 'idle' } });
    default:
      return verdict satisfies never;
  }
}

function stale(
  state: HookState,
  phase: { readonly serial: string; readonly looks: number },
  context: HookContext,
): HookTransition {
  const { serial } = phase;
  const news: HookEffect[] = state.stale === serial ? [] : [{ type: 'stale' }];
  const known: HookState = { ...state, stale: serial };
  const mayGoBack = context.check === 'rollback' && context.atRest && state.stays !== serial;
  if (!mayGoBack) return after(news, watch(known, phase, context));
  return {
    state: { ...known, phase: { kind: 'rolling-back', serial } },
    effects: [...news, { type: 'roll-back', serial }],
  };
}

/** Looks again later: a person restarts the server, and the warning has to end with that. */
function watch(
  state: HookState,
  { serial, looks }: { readonly serial: string; readonly looks: number },
  { random }: HookContext,
): HookTransition {
  return {
    state: { ...state, phase: { kind: 'watching', serial, looks: looks + 1 } },
    effects: [{ type: 'wait', ms: servedCheckDelay(looks, random) }],
  };
}

function finish(state: HookState, serial: string): HookTransition {
  const idle: HookState = { ...state, phase: { kind: 'idle' } };
  // Owed still, to the next start of the agent: by then somebody may have mended it.
  if (state.failing.length > 0) return only(idle);
  return { state: without(idle, 'owed'), effects: [{ type: 'settled', serial }] };
}

/** Everything anew for a pair that came while something was done for an older one. */
function overtaking(
  state: HookState,
  serial: string,
  context: HookContext,
): HookTransition | undefined {
  const { owed } = state;
  return owed === undefined || owed === serial ? undefined : begin(state, owed, context);
}

function only(state: HookState): HookTransition {
  return { state, effects: [] };
}

function after(first: readonly HookEffect[], { state, effects }: HookTransition): HookTransition {
  return { state, effects: [...first, ...effects] };
}
