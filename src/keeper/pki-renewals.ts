import type { PkiConfig } from '../core/config.ts';
import type { HookedPair } from '../core/hooks.ts';
import { renewalEnvironment } from '../core/hooks.ts';
import { hour, second } from '../core/instant.ts';
import type { PkiStatus } from '../core/status.ts';
import { renewalRetryDelay } from '../core/timing.ts';
import type { Clock } from '../sys/clock.ts';
import { sleepOnEitherClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { Work, WorkSignals } from './configured-work.ts';
import { ConfiguredWork } from './configured-work.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import type { PkiObserver } from './pki-record.ts';
import { PkiRecord } from './pki-record.ts';
import type { PkiRenewal, RenewalResult } from './pki-renewal.ts';

export interface PkiRenewalsOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Draws a number in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly observer: PkiObserver & HookObserver;
  readonly journal: HookJournal;
}

/**
 * Runs a command at least once an hour, which renews the control-plane certificates of this
 * machine. Only the shutdown of the agent waits for it.
 */
export class PkiRenewals implements AsyncDisposable {
  readonly #options: PkiRenewalsOptions;
  readonly #work: ConfiguredWork;
  #record: PkiRecord | undefined;

  constructor(options: PkiRenewalsOptions) {
    this.#options = options;
    this.#work = new ConfiguredWork(options);
  }

  /** Undefined while the renewal is disabled. */
  get status(): PkiStatus | undefined {
    const status = this.#record?.status;
    return status && { ...status, ...this.#work.hooks?.status(status.directory) };
  }

  /**
   * Applies a configuration, and checks at once. Without a configuration, the renewal is disabled.
   * @param file the configuration file, whose permissions the hooks require
   */
  apply(config: PkiConfig | undefined, file?: string): void {
    if (config === undefined) {
      this.#record = undefined;
      return this.#work.replace(undefined);
    }
    this.#record = this.#recordOf(config);
    this.#work.replace(this.#workOf(config, this.#record, file));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<void> {
    await this.#work.stop();
  }

  #recordOf({ directory }: PkiConfig): PkiRecord {
    const { clock, logger, observer } = this.#options;
    if (this.#record?.status.directory === directory) return this.#record;
    return new PkiRecord({ directory, now: () => clock.now(), logger, observer });
  }

  #workOf(config: PkiConfig, record: PkiRecord, file: string | undefined): Work {
    const { directory, hooks } = config;
    const { journal } = this.#options;
    const environment = ({ renewed = [] }: HookedPair): Record<string, string> =>
      renewalEnvironment(directory, renewed);
    return {
      file,
      target: { name: directory, hooks, environment },
      pending: (serial) => ({ serial, renewed: journal.renewed(directory) }),
      repeat: (signals) => this.#repeat({ config, record }, signals),
    };
  }

  /** What was renewed after the last document, also by calls that were killed. */
  #unreported({ directory }: PkiConfig, renewal: PkiRenewal): RenewalResult['lastRenewals'] {
    if (renewal.kind === 'failed') return [];
    const reported = new Set(this.#options.journal.reported(directory));
    return renewal.result.lastRenewals.filter(({ serial }) => !reported.has(serial));
  }

  /** Saves the renewal together with its pending hooks, and starts the hooks. */
  #takeOver({ directory }: PkiConfig, renewed: RenewalResult['lastRenewals']): void {
    const [first] = renewed;
    if (first === undefined) return;
    const { journal } = this.#options;
    journal.addReported(directory, renewed);
    // The hooks of an earlier renewal may still be pending.
    const names = [...journal.renewed(directory), ...renewed.map(({ name }) => name)];
    this.#work.hooks?.stored(directory, { serial: first.serial, renewed: [...new Set(names)] });
  }

  async #repeat(
    { config, record }: { readonly config: PkiConfig; readonly record: PkiRecord },
    { over, stop }: WorkSignals,
  ): Promise<void> {
    const { program, env, clock, random } = this.#options;
    // Loaded only here, because most agents run on nodes without a control plane.
    const { renewUnattended } = await import('./pki-renewal.ts');
    let failures = 0;
    while (!over.aborted) {
      record.checking();
      const renewal = await renewUnattended({ program, env, config, clock, signal: stop });
      // Canceled before it changed anything.
      if (stop.aborted && renewal.kind === 'failed') return;
      const renewed = this.#unreported(config, renewal);
      record.ended(renewal, renewed);
      this.#takeOver(config, renewed);
      failures = renewal.kind === 'failed' ? failures + 1 : 0;
      const ms =
        renewal.kind === 'failed'
          ? renewalRetryDelay(failures, random())
          : pauseAfter(renewal.result);
      record.waiting(clock.now() + ms);
      await sleepOnEitherClock(clock, ms, over).catch(() => undefined);
    }
  }
}

const longestPause = hour;
/** Keeps a command that always wants to run again from using a whole processor. */
const shortestPause = 10 * second;

function pauseAfter({ retryAfterSeconds = Infinity }: RenewalResult): number {
  return Math.min(Math.max(retryAfterSeconds * second, shortestPause), longestPause);
}
