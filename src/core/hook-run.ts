import { retryDelay, servedCheckDelay } from './timing.ts';
import type { ErrorCode } from './errors.ts';
import { without } from './without.ts';

/**
 * The work after a rotation of one certificate, as a pure state machine: its hooks in order, then
 * the check of the served certificate, then a rollback if that is configured. Serials identify
 * key pairs. If a newer pair is stored while a hook or check is running, that hook or check ends
 * first. Then the work starts again for the newest pair.
 */

export interface HookState {
  readonly phase: HookPhase;
  /** The newest pair that was stored or rolled back to. */
  readonly latest?: string;
  /** The pair whose hooks have not all succeeded, or that is not served yet. */
  readonly pending?: string;
  /** Hooks, by position, whose last run failed. */
  readonly failing: readonly number[];
  /** The pair that was last reported as not served. */
  readonly stale?: string;
  /**
   * The pair that must not be rolled back, because a rollback linked it or its own rollback
   * failed.
   */
  readonly noRollbackOf?: string;
}

export type HookPhase =
  | { readonly kind: 'idle' }
  | ({ readonly kind: 'running' | 'waiting-to-retry'; readonly serial: string } & HookAttempt)
  | {
      readonly kind: 'checking' | 'waiting-to-check';
      readonly serial: string;
      readonly checks: number;
    }
  | { readonly kind: 'rolling-back'; readonly serial: string };

interface HookAttempt {
  /** Position in the list. */
  readonly hook: number;
  /** Counts from 1. */
  readonly attempt: number;
}

export type HookEvent =
  /** The agent has linked this pair. */
  | { readonly type: 'stored'; readonly serial: string }
  /** A hook has ended. `code` is set if it failed, `final` if a retry would fail again. */
  | { readonly type: 'hook-ended'; readonly code?: ErrorCode; readonly final?: true }
  | { readonly type: 'wait-ended' }
  | { readonly type: 'checked'; readonly verdict: Verdict }
  | { readonly type: 'rolled-back'; readonly serial: string }
  | { readonly type: 'not-rolled-back' };

/** 'replaced' if another pair is on disk; 'unknown' if the check failed. */
export type Verdict = 'current' | 'stale' | 'replaced' | 'unknown';

export type HookEffect =
  | ({ readonly type: 'run-hook'; readonly serial: string } & HookAttempt)
  /** Report a failed attempt; another one follows. */
  | ({ readonly type: 'retrying'; readonly ms: number } & HookAttempt)
  /** Report that the last attempt failed. */
  | ({ readonly type: 'gave-up' } & HookAttempt)
  | { readonly type: 'succeeded'; readonly hook: number; readonly recovered: boolean }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'stop-waiting' }
  /** `waitForReload` gives the servers time to reload. Only the first check does. */
  | { readonly type: 'check'; readonly serial: string; readonly waitForReload: boolean }
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
  /** No request for another pair is in progress. */
  readonly rotationIdle: boolean;
  /** In [0, 1). */
  readonly random: number;
}

export interface HookTransition {
  readonly state: HookState;
  readonly effects: readonly HookEffect[];
}

/** @param noRollbackOf the pair that an earlier run rolled back to */
export function initialHookState(noRollbackOf?: string): HookState {
  return {
    phase: { kind: 'idle' },
    failing: [],
    ...(noRollbackOf !== undefined && { noRollbackOf }),
  };
}

export function hookStep(state: HookState, event: HookEvent, context: HookContext): HookTransition {
  switch (event.type) {
    case 'stored':
      return stored(state, event.serial, context);
    case 'hook-ended':
      return hookEnded(state, event, context);
    case 'wait-ended':
      return waitEnded(state);
    case 'checked':
      return checked(state, event.verdict, context);
    case 'rolled-back': {
      if (state.phase.kind !== 'rolling-back') return noEffects(state);
      const { serial } = event;
      return startHooks(
        { ...state, latest: serial, pending: serial, noRollbackOf: serial },
        serial,
        context,
      );
    }
    case 'not-rolled-back': {
      const { phase } = state;
      if (phase.kind !== 'rolling-back') return noEffects(state);
      const next = { ...state, noRollbackOf: phase.serial };
      return (
        startNewer(next, phase.serial, context) ??
        checkLater(next, { ...phase, checks: 0 }, context)
      );
    }
    default:
      return event satisfies never;
  }
}

function stored(state: HookState, serial: string, context: HookContext): HookTransition {
  if (serial === state.latest) return noEffects(state);
  const next: HookState = { ...state, latest: serial, pending: serial };
  switch (state.phase.kind) {
    case 'idle':
      return startHooks(next, serial, context);
    case 'waiting-to-retry':
    case 'waiting-to-check':
      return withEffects([{ type: 'stop-waiting' }], startHooks(next, serial, context));
    // The new pair waits for the end of the running hook, check or rollback.
    case 'running':
    case 'checking':
    case 'rolling-back':
      return noEffects(next);
    default:
      return state.phase satisfies never;
  }
}

function startHooks(state: HookState, serial: string, context: HookContext): HookTransition {
  return runOrCheck(state, { serial, hook: 0, attempt: 1 }, context);
}

/** The next attempt, or the check after the last hook. */
function runOrCheck(
  state: HookState,
  next: HookAttempt & { readonly serial: string },
  context: HookContext,
): HookTransition {
  const { serial } = next;
  if (next.hook < context.retries.length) {
    return {
      state: { ...state, phase: { kind: 'running', ...next } },
      effects: [{ type: 'run-hook', ...next }],
    };
  }
  if (context.check === undefined) return finish(state, serial);
  return {
    state: { ...state, phase: { kind: 'checking', serial, checks: 0 } },
    effects: [{ type: 'check', serial, waitForReload: true }],
  };
}

function hookEnded(
  state: HookState,
  { code, final }: Extract<HookEvent, { type: 'hook-ended' }>,
  context: HookContext,
): HookTransition {
  const { phase } = state;
  if (phase.kind !== 'running') return noEffects(state);
  const newer = startNewer(state, phase.serial, context);
  if (newer !== undefined) return newer;
  const { serial, hook, attempt: count } = phase;
  const others = state.failing.filter((position) => position !== hook);
  const next = { serial, hook: hook + 1, attempt: 1 };
  if (code === undefined) {
    const recovered = others.length < state.failing.length;
    const effect: HookEffect = { type: 'succeeded', hook, recovered };
    return withEffects([effect], runOrCheck({ ...state, failing: others }, next, context));
  }
  if (final === undefined && count <= (context.retries[hook] ?? 0)) {
    const ms = retryDelay({ code, message: '' }, count, context.random);
    return {
      state: { ...state, phase: { ...phase, kind: 'waiting-to-retry' } },
      effects: [
        { type: 'retrying', hook, attempt: count, ms },
        { type: 'wait', ms },
      ],
    };
  }
  // The next hooks run anyway, because other programs depend on them.
  const failing = [...others, hook].sort((a, b) => a - b);
  const effect: HookEffect = { type: 'gave-up', hook, attempt: count };
  return withEffects([effect], runOrCheck({ ...state, failing }, next, context));
}

function waitEnded(state: HookState): HookTransition {
  const { phase } = state;
  if (phase.kind === 'waiting-to-retry') {
    const { serial, hook } = phase;
    const next = { serial, hook, attempt: phase.attempt + 1 };
    return {
      state: { ...state, phase: { kind: 'running', ...next } },
      effects: [{ type: 'run-hook', ...next }],
    };
  }
  if (phase.kind !== 'waiting-to-check') return noEffects(state);
  return {
    state: { ...state, phase: { ...phase, kind: 'checking' } },
    effects: [{ type: 'check', serial: phase.serial, waitForReload: false }],
  };
}

function checked(state: HookState, verdict: Verdict, context: HookContext): HookTransition {
  const { phase } = state;
  if (phase.kind !== 'checking') return noEffects(state);
  const { serial } = phase;
  const newer = startNewer(state, serial, context);
  if (newer !== undefined) return newer;
  switch (verdict) {
    case 'current': {
      const recovered = state.stale !== undefined;
      const effect: HookEffect = { type: 'current', serial, recovered };
      return withEffects([effect], finish(without(state, 'stale'), serial));
    }
    case 'stale':
      return stale(state, phase, context);
    case 'unknown': {
      const first: HookEffect[] = phase.checks === 0 ? [{ type: 'unchecked' }] : [];
      return withEffects(first, checkLater(state, phase, context));
    }
    case 'replaced':
      // Another program stored that pair, and must reload the servers itself.
      return noEffects({ ...without(state, 'stale'), phase: { kind: 'idle' } });
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
  const canRollBack =
    context.check === 'rollback' && context.rotationIdle && state.noRollbackOf !== serial;
  if (!canRollBack) return withEffects(report, checkLater(known, phase, context));
  return {
    state: { ...known, phase: { kind: 'rolling-back', serial } },
    effects: [...report, { type: 'roll-back', serial }],
  };
}

/** Checks again later, so that the agent notices a restart of the server. */
function checkLater(
  state: HookState,
  { serial, checks }: { readonly serial: string; readonly checks: number },
  { random }: HookContext,
): HookTransition {
  return {
    state: { ...state, phase: { kind: 'waiting-to-check', serial, checks: checks + 1 } },
    effects: [{ type: 'wait', ms: servedCheckDelay(checks, random) }],
  };
}

function finish(state: HookState, serial: string): HookTransition {
  const idle: HookState = { ...state, phase: { kind: 'idle' } };
  // The pair stays pending, so its hooks run again at the next start of the agent.
  if (state.failing.length > 0) return noEffects(idle);
  return { state: without(idle, 'pending'), effects: [{ type: 'finished', serial }] };
}

/** Starts the work for a pair that was stored in the meantime. */
function startNewer(
  state: HookState,
  serial: string,
  context: HookContext,
): HookTransition | undefined {
  const { pending } = state;
  return pending === undefined || pending === serial
    ? undefined
    : startHooks(state, pending, context);
}

function noEffects(state: HookState): HookTransition {
  return { state, effects: [] };
}

function withEffects(
  first: readonly HookEffect[],
  { state, effects }: HookTransition,
): HookTransition {
  return { state, effects: [...first, ...effects] };
}
