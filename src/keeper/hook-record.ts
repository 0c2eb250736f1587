import type { Failure } from '../core/errors.ts';
import type { HookEffect } from '../core/hook-run.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { LogEvent, LogFields } from '../core/log-events.ts';
import { failureFields } from '../core/log-events.ts';
import { remedies } from '../core/remedies.ts';
import type { EndpointState } from '../core/served.ts';
import type { CertificateStatus, HookStatus } from '../core/status.ts';
import type { Logger } from '../sys/log.ts';
import type { HookOutcome } from './hook-attempt.ts';

export interface HookObserver {
  recordHookRun(run: HookRun): void;
}

export interface HookRun {
  readonly certificate: string;
  readonly hook: string;
  readonly result: 'succeeded' | 'failed' | 'timeout';
}

/** One attempt to run a hook. */
export interface HookAttempt {
  /** Position in the list. */
  readonly hook: number;
  readonly attempt: number;
  readonly serial: string;
}

/** Effects that are only reported. */
export type HookReport = Extract<
  HookEffect,
  { type: 'retrying' | 'gave-up' | 'succeeded' | 'current' | 'stale' | 'unchecked' }
>;

export interface HookRecordOptions {
  readonly certificate: string;
  /** The names of the hooks, in order. */
  readonly names: readonly string[];
  readonly now: () => Instant;
  readonly logger: Logger;
  readonly observer: HookObserver;
}

/** Logs and counts the results of the hooks and checks of one certificate, and keeps them for the status. */
export class HookRecord {
  readonly #options: HookRecordOptions;
  readonly #hooks: HookStatus[];
  #served: CertificateStatus['served'];
  /** The failure of the latest hook or check. */
  #failure: Failure = { code: 'INTERNAL', message: 'nothing failed', remedy: remedies.INTERNAL };

  constructor(options: HookRecordOptions) {
    this.#options = options;
    this.#hooks = options.names.map((name) => ({ name }));
  }

  get status(): Pick<CertificateStatus, 'hooks' | 'served'> {
    const served = this.#served;
    return { hooks: [...this.#hooks], ...(served !== undefined && { served }) };
  }

  get failure(): Failure {
    return this.#failure;
  }

  log(event: LogEvent, fields: LogFields = {}): void {
    const { logger, certificate } = this.#options;
    logger.log(event, { certificate, ...fields });
  }

  /** @returns the name of the hook */
  started({ hook, attempt, serial }: HookAttempt): string {
    const name = this.#nameOf(hook);
    this.log('hook_started', { hook: name, serial, attempt });
    return name;
  }

  output({ hook }: HookAttempt, line: string): void {
    this.log('hook_output', { hook: this.#nameOf(hook), line });
  }

  /** @param ms how long the hook ran */
  ended(
    { hook, serial }: HookAttempt,
    outcome: Exclude<HookOutcome, { kind: 'aborted' }>,
    ms: number,
  ): void {
    if (outcome.kind === 'succeeded') {
      this.#count(hook, 'succeeded');
      const seconds = Math.round(ms) / second;
      return this.log('hook_succeeded', { hook: this.#nameOf(hook), serial, seconds });
    }
    this.#failure = outcome.failure;
    this.#count(hook, outcome.failure.code === 'HOOK_TIMEOUT' ? 'timeout' : 'failed');
  }

  /** @param endpoints absent if another pair is on disk */
  checked(endpoints?: readonly EndpointState[]): void {
    this.#served = endpoints === undefined ? undefined : { at: this.#options.now(), endpoints };
  }

  failed(failure: Failure): void {
    this.#failure = failure;
  }

  report(effect: HookReport): void {
    switch (effect.type) {
      case 'retrying': {
        const { code, message: error } = this.#failure;
        const { attempt, ms } = effect;
        const hook = this.#nameOf(effect.hook);
        return this.log('hook_retrying', { hook, attempt, code, error, seconds: ms / second });
      }
      case 'gave-up':
        return this.#gaveUp(effect.hook, effect.attempt);
      case 'succeeded': {
        const name = this.#nameOf(effect.hook);
        this.#hooks[effect.hook] = { name, succeededAt: this.#options.now() };
        if (effect.recovered) this.log('hook_recovered', { hook: name });
        return;
      }
      case 'current': {
        const { serial } = effect;
        if (effect.recovered) return this.log('served_recovered', { serial });
        const endpoints = this.#served?.endpoints.map(({ endpoint }) => endpoint);
        return this.log('served_checked', { serial, endpoints });
      }
      case 'stale':
        return this.log('served_stale', failureFields(this.#failure));
      case 'unchecked':
        return this.log('served_unchecked', failureFields(this.#failure));
      default:
        effect satisfies never;
    }
  }

  #gaveUp(hook: number, attempt: number): void {
    const name = this.#nameOf(hook);
    const failure = { ...this.#failure, at: this.#options.now() };
    this.#hooks[hook] = { ...this.#hooks[hook], name, failure };
    this.log('hook_failed', { hook: name, attempt, ...failureFields(failure) });
  }

  #count(hook: number, result: HookRun['result']): void {
    const { observer, certificate } = this.#options;
    observer.recordHookRun({ certificate, hook: this.#nameOf(hook), result });
  }

  #nameOf(hook: number): string {
    return this.#options.names[hook] ?? '';
  }
}
