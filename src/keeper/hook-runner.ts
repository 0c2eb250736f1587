import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Finding } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import { hookNames } from '../core/hooks.ts';
import type { HookContext, HookEffect, HookEvent, HookState, Verdict } from '../core/hook-run.ts';
import { hookStep, initialHookState } from '../core/hook-run.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration } from '../core/instant.ts';
import { goneBackRemedy, staleFailure } from '../core/served.ts';
import type { CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { AftermathReport } from './enroller-errands.ts';
import type { EnrollerLink } from './enroller-link.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import { HookRecord } from './hook-record.ts';
import { runHook } from './run-hook.ts';

/** What the rotation of the same certificate has to do with it. */
export interface RotationPort {
  /** Nothing is under way that brings another pair. */
  readonly atRest: () => boolean;
  /** Has it rest on an earlier pair. @returns when the next one may be asked for */
  readonly rolledBack: (step: RollBackStep) => Instant | undefined;
}

export interface RollBackStep {
  /** What readers find again. */
  readonly pair: PairFacts;
  readonly findings: readonly Finding[];
  readonly failure: Failure;
  /** How often in a row. */
  readonly count: number;
}

export interface HookRunnerOptions {
  readonly spec: CertificateSpec;
  /** The `-current.pem`. */
  readonly path: string;
  readonly clock: Clock;
  readonly chance: () => number;
  readonly enroller: EnrollerLink;
  readonly logger: Logger;
  readonly observer: HookObserver;
  readonly journal: HookJournal;
  readonly rotation: RotationPort;
  /** Where systemctl is; found by itself when absent. */
  readonly systemctl?: string | undefined;
}

/**
 * Carries out what hook-run.ts decides for one certificate. The rotation never waits
 * for it: whoever tells it of a pair goes on at once.
 */
export class HookRunner {
  readonly #options: HookRunnerOptions;
  readonly #record: HookRecord;
  readonly #stop = new AbortController();
  #state: HookState;
  /** The newest that it was told of. */
  #pair: PairFacts | undefined;
  #waiting = new AbortController();
  #trying: Promise<void> = Promise.resolve();

  constructor(options: HookRunnerOptions) {
    const { spec, journal, clock } = options;
    this.#options = options;
    this.#record = new HookRecord({
      ...options,
      certificate: spec.name,
      names: hookNames(spec.onRotate ?? []),
      now: () => clock.now(),
    });
    this.#state = initialHookState(journal.wentBack(spec.name)?.to);
  }

  get status(): Pick<CertificateStatus, 'hooks' | 'served' | 'following'> {
    // A server that has not taken the pair over is watched for long: that is a result.
    const { kind } = this.#state.phase;
    const following = kind !== 'idle' && kind !== 'watching';
    return { ...this.#record.status, ...(following && { following }) };
  }

  /** The agent has put this pair in place; to be told twice of one makes no difference. */
  stored(pair: PairFacts): void {
    if (pair.serial === this.#state.latest) return;
    this.#options.journal.owe(this.#name, pair.serial);
    this.#pair = pair;
    this.#apply({ type: 'stored', serial: pair.serial });
  }

  report(report: AftermathReport): void {
    const { phase } = this.#state;
    // A late answer, about a pair that is not asked about any more.
    if (phase.kind === 'idle' || phase.serial !== report.serial) return;
    if (report.type === 'served') return this.#checked(report);
    this.#rolledBack(report);
  }

  /** The enroller is gone, with whatever it was asked. */
  lost(failure: Failure): void {
    const { kind } = this.#state.phase;
    if (kind === 'checking') this.#unknown(failure);
    if (kind === 'rolling-back') this.#noWayBack(failure.message);
  }

  /** Settles when no hook runs any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#trying;
  }

  get #name(): string {
    return this.#options.spec.name;
  }

  get #context(): HookContext {
    const { spec, chance, rotation } = this.#options;
    return {
      retries: (spec.onRotate ?? []).map(({ retries }) => retries),
      ...(spec.served !== undefined && {
        check: this.#isStandIn ? 'report' : spec.served.onFailure,
      }),
      atRest: rotation.atRest(),
      chance: chance(),
    };
  }

  /** The first pair of all: there is none before it. */
  get #isStandIn(): boolean {
    return this.#pair?.selfSigned === true;
  }

  #apply(event: HookEvent): void {
    if (this.#stop.signal.aborted) return;
    const { state, effects } = hookStep(this.#state, event, this.#context);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: HookEffect): void {
    const { enroller, journal, spec } = this.#options;
    const name = this.#name;
    switch (effect.type) {
      case 'try':
        this.#trying = this.#try(effect);
        return;
      case 'wait':
        return void this.#wait(effect.ms);
      case 'stop-waiting':
        return this.#waiting.abort();
      case 'check': {
        const withinMs = effect.patient ? (spec.served?.withinMs ?? 0) : 0;
        return enroller.send({ type: 'check-served', name, serial: effect.serial, withinMs });
      }
      case 'roll-back':
        return enroller.send({ type: 'roll-back', name, serial: effect.serial });
      case 'settled':
        return journal.settle(name, effect.serial);
      case 'current':
        journal.served(name, effect.serial);
        return this.#record.tell(effect);
      case 'retrying':
      case 'gave-up':
      case 'succeeded':
      case 'stale':
      case 'unchecked':
        return this.#record.tell(effect);
      default:
        effect satisfies never;
    }
  }

  async #try(one: Extract<HookEffect, { type: 'try' }>): Promise<void> {
    const { spec, path, clock, systemctl } = this.#options;
    const pair = this.#pair;
    const hook = spec.onRotate?.[one.hook];
    if (pair === undefined || hook === undefined) return;
    const startedAt = clock.elapsed();
    const outcome = await runHook({
      hook,
      name: this.#record.started(one),
      certificate: spec.name,
      path,
      pair,
      clock,
      onLine: (line) => this.#record.output(one, line),
      signal: this.#stop.signal,
      systemctl,
    }).catch((error: unknown) => {
      return { kind: 'failed', failure: toFailure(error), final: false } as const;
    });
    if (outcome.kind === 'aborted') return;
    this.#record.ended(one, outcome, clock.elapsed() - startedAt);
    if (outcome.kind === 'succeeded') return this.#apply({ type: 'tried' });
    const { failure, final } = outcome;
    this.#apply({ type: 'tried', code: failure.code, ...(final && { final }) });
  }

  async #wait(ms: number): Promise<void> {
    this.#waiting = new AbortController();
    const signal = AbortSignal.any([this.#waiting.signal, this.#stop.signal]);
    try {
      await this.#options.clock.sleep(ms, signal);
    } catch {
      return;
    }
    this.#apply({ type: 'waited' });
  }

  #checked({ serial, outcome }: Extract<AftermathReport, { type: 'served' }>): void {
    switch (outcome.kind) {
      case 'failed':
        return this.#unknown(outcome.failure);
      case 'overtaken':
        this.#record.looked();
        return this.#verdict('overtaken');
      case 'looked': {
        const { endpoints } = outcome;
        this.#record.looked(endpoints);
        if (endpoints.every(({ state }) => state === 'current')) return this.#verdict('current');
        const within = formatDuration(this.#options.spec.served?.withinMs ?? 0);
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

  #rolledBack({ serial, outcome }: Extract<AftermathReport, { type: 'rolled-back' }>): void {
    switch (outcome.kind) {
      case 'overtaken':
        return this.#noWayBack('another pair is in its place by now');
      case 'impossible':
        return this.#noWayBack(outcome.reason);
      case 'failed':
        return this.#noWayBack(outcome.failure.message);
      case 'rolled-back':
        return this.#wentBack(serial, outcome);
      default:
        outcome satisfies never;
    }
  }

  #wentBack(from: string, { pair, findings }: Pick<RollBackStep, 'pair' | 'findings'>): void {
    const { journal, rotation, clock } = this.#options;
    const count = journal.nextCount(this.#name);
    const failure = { ...this.#record.failure, remedy: goneBackRemedy(this.#name) };
    const until = rotation.rolledBack({ pair, findings, failure, count }) ?? clock.now();
    journal.goBack(this.#name, { from, to: pair.serial, until });
    this.#pair = pair;
    this.#apply({ type: 'rolled-back', serial: pair.serial });
  }

  #noWayBack(error: string): void {
    const { remedy } = this.#record.failure;
    this.#record.log('rollback_failed', { error, ...(remedy !== undefined && { remedy }) });
    this.#apply({ type: 'not-rolled-back' });
  }
}
