import type { PairFacts } from '../core/certificate.ts';
import type { RollbackReply, ServedReply } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import type { HookedPair, HookSpec, ServedSpec } from '../core/hooks.ts';
import { hookNames } from '../core/hooks.ts';
import type { HookContext, HookEffect, HookEvent, HookState, Verdict } from '../core/hook-run.ts';
import { hookStep, initialHookState } from '../core/hook-run.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration } from '../core/instant.ts';
import { findingEvent } from '../core/log-events.ts';
import { rolledBackRemedy, staleFailure } from '../core/served.ts';
import type { CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { Rollback } from '../core/rotation-state.ts';
import type { EnrollerLink, Lost } from './enroller-link.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import { HookRecord } from './hook-record.ts';
import { runHook } from './hook-attempt.ts';

/** One certificate with hooks or checks, or all control-plane certificates. */
export interface HookTarget {
  /** The name in logs, metrics and state.json. */
  readonly name: string;
  readonly hooks: readonly HookSpec[];
  /** The complete environment of the hooks. */
  readonly environment: (pair: HookedPair) => Record<string, string>;
  readonly check?: ServedCheck;
}

/** The check of the served certificate after the hooks. */
export interface ServedCheck {
  readonly spec: ServedSpec;
  readonly enroller: EnrollerLink;
  readonly rotation: RotationPort;
}

/** The rotation of the same certificate. */
export interface RotationPort {
  /** True if no request for a new pair is in progress. */
  readonly isIdle: () => boolean;
  /**
   * `-current.pem` links to the previous pair again.
   * @returns when the next certificate may be requested
   */
  readonly rolledBack: (rollback: Rollback) => Instant | undefined;
}

export interface HookRunnerOptions {
  readonly target: HookTarget;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly observer: HookObserver;
  readonly journal: HookJournal;
  /** The path of systemctl; searched for if absent. */
  readonly systemctl?: string | undefined;
}

/**
 * Performs the effects of hook-run.ts for one target. The rotation never waits for hooks or
 * checks.
 */
export class HookRunner {
  readonly #options: HookRunnerOptions;
  readonly #record: HookRecord;
  readonly #stop = new AbortController();
  #state: HookState;
  /** The newest pair that was stored or rolled back to. */
  #pair: HookedPair | undefined;
  #waiting = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: HookRunnerOptions) {
    const { target, journal, clock } = options;
    this.#options = options;
    this.#record = new HookRecord({
      ...options,
      certificate: target.name,
      names: hookNames(target.hooks),
      now: () => clock.now(),
    });
    this.#state = initialHookState(journal.rollback(target.name)?.to);
  }

  get status(): Pick<CertificateStatus, 'hooks' | 'served' | 'following'> {
    // The checks of a stale server may go on for days, so the status shows the work as finished.
    const { kind } = this.#state.phase;
    const following = kind !== 'idle' && kind !== 'waiting-to-check';
    return { ...this.#record.status, ...(following && { following }) };
  }

  /** The agent has linked this pair. A second call for the same pair has no effect. */
  stored(pair: HookedPair): void {
    if (pair.serial === this.#state.latest) return;
    this.#options.journal.addPending(this.#name, pair);
    this.#pair = pair;
    this.#apply({ type: 'stored', serial: pair.serial });
  }

  /** Resolves when no hook is running. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  get #name(): string {
    return this.#options.target.name;
  }

  get #context(): HookContext {
    const { target, random } = this.#options;
    const { hooks, check } = target;
    return {
      retries: hooks.map(({ retries }) => retries),
      ...(check !== undefined && {
        check: this.#isTemporary ? 'report' : check.spec.onFailure,
      }),
      rotationIdle: check?.rotation.isIdle() ?? true,
      random: random(),
    };
  }

  /** A temporary self-signed certificate has no previous pair to roll back to. */
  get #isTemporary(): boolean {
    return this.#pair?.selfSigned === true;
  }

  #apply(event: HookEvent): void {
    if (this.#stop.signal.aborted) return;
    const { state, effects } = hookStep(this.#state, event, this.#context);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: HookEffect): void {
    const { journal, target } = this.#options;
    const { name, check } = target;
    switch (effect.type) {
      case 'run-hook':
        this.#running = this.#runHook(effect);
        return;
      case 'wait':
        return void this.#wait(effect.ms);
      case 'stop-waiting':
        return this.#waiting.abort();
      case 'check': {
        const { serial } = effect;
        const withinMs = effect.waitForReload ? (check?.spec.withinMs ?? 0) : 0;
        return check?.enroller.request(
          { type: 'check-served', name, serial, withinMs },
          (reply) => {
            if (this.#expectsReply(serial, 'checking')) this.#checked(serial, reply);
          },
        );
      }
      case 'roll-back': {
        const { serial } = effect;
        return check?.enroller.request({ type: 'roll-back', name, serial }, (reply) => {
          if (this.#expectsReply(serial, 'rolling-back')) this.#rolledBack(serial, reply);
        });
      }
      case 'finished':
        return journal.clearPending(name, effect.serial);
      case 'current':
        journal.served(name, effect.serial);
        return this.#record.report(effect);
      case 'retrying':
      case 'gave-up':
      case 'succeeded':
      case 'stale':
      case 'unchecked':
        return this.#record.report(effect);
      default:
        effect satisfies never;
    }
  }

  async #runHook(attempt: Extract<HookEffect, { type: 'run-hook' }>): Promise<void> {
    const { target, clock, systemctl } = this.#options;
    const pair = this.#pair;
    const hook = target.hooks[attempt.hook];
    if (pair === undefined || hook === undefined) return;
    const startedAt = clock.elapsed();
    const outcome = await runHook({
      hook,
      name: this.#record.started(attempt),
      env: target.environment(pair),
      clock,
      onLine: (line) => this.#record.output(attempt, line),
      signal: this.#stop.signal,
      systemctl,
    }).catch((error: unknown) => {
      return { kind: 'failed', failure: toFailure(error), final: false } as const;
    });
    if (outcome.kind === 'aborted') return;
    this.#record.ended(attempt, outcome, clock.elapsed() - startedAt);
    if (outcome.kind === 'succeeded') return this.#apply({ type: 'hook-ended' });
    const { failure, final } = outcome;
    this.#apply({ type: 'hook-ended', code: failure.code, ...(final && { final }) });
  }

  async #wait(ms: number): Promise<void> {
    this.#waiting = new AbortController();
    const signal = AbortSignal.any([this.#waiting.signal, this.#stop.signal]);
    try {
      await this.#options.clock.sleep(ms, signal);
    } catch {
      return;
    }
    this.#apply({ type: 'wait-ended' });
  }

  /** False for a late reply about a pair that was replaced in the meantime. */
  #expectsReply(serial: string, kind: 'checking' | 'rolling-back'): boolean {
    const { phase } = this.#state;
    return phase.kind === kind && phase.serial === serial;
  }

  #checked(serial: string, reply: ServedReply | Lost): void {
    if (reply.type === 'lost') return this.#unknown(reply.failure);
    const { outcome } = reply;
    switch (outcome.kind) {
      case 'failed':
        return this.#unknown(outcome.failure);
      case 'replaced':
        this.#record.checked();
        return this.#verdict('replaced');
      case 'checked': {
        const { endpoints } = outcome;
        this.#record.checked(endpoints);
        if (endpoints.every(({ state }) => state === 'current')) return this.#verdict('current');
        const within = formatDuration(this.#options.target.check?.spec.withinMs ?? 0);
        this.#record.failed(staleFailure(serial, endpoints, within));
        return this.#verdict('stale');
      }
      default:
        outcome satisfies never;
    }
  }

  #unknown(failure: Failure): void {
    this.#record.failed(failure);
    this.#verdict('unknown');
  }

  #verdict(verdict: Verdict): void {
    this.#apply({ type: 'checked', verdict });
  }

  #rolledBack(serial: string, reply: RollbackReply | Lost): void {
    if (reply.type === 'lost') return this.#rollbackFailed(reply.failure.message);
    const { outcome } = reply;
    switch (outcome.kind) {
      case 'replaced':
        return this.#rollbackFailed('another key pair is linked already');
      case 'impossible':
        return this.#rollbackFailed(outcome.reason);
      case 'failed':
        return this.#rollbackFailed(outcome.failure.message);
      case 'rolled-back':
        for (const { kind, path, detail } of outcome.findings) {
          this.#record.log(findingEvent(kind), { path, detail });
        }
        return this.#rollbackDone(serial, outcome.pair);
      default:
        outcome satisfies never;
    }
  }

  #rollbackDone(from: string, pair: PairFacts): void {
    const { journal, target, clock } = this.#options;
    const count = journal.nextCount(this.#name);
    const failure = { ...this.#record.failure, remedy: rolledBackRemedy(this.#name) };
    const until = target.check?.rotation.rolledBack({ pair, failure, count }) ?? clock.now();
    journal.addRollback(this.#name, { from, to: pair.serial, until });
    this.#pair = pair;
    this.#apply({ type: 'rolled-back', serial: pair.serial });
  }

  #rollbackFailed(error: string): void {
    const { remedy } = this.#record.failure;
    this.#record.log('rollback_failed', { error, ...(remedy !== undefined && { remedy }) });
    this.#apply({ type: 'not-rolled-back' });
  }
}
