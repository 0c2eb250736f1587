import type { PkiConfig } from '../core/config.ts';
import type { HookedPair } from '../core/hooks.ts';
import { renewalEnvironment } from '../core/hooks.ts';
import { hour, second } from '../core/instant.ts';
import type { PkiStatus } from '../core/status.ts';
import { renewalRetryDelay } from '../core/timing.ts';
import type { Clock } from '../sys/clock.ts';
import { sleepOnEitherClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import type { PkiObserver } from './pki-record.ts';
import { PkiRecord } from './pki-record.ts';
import type { PkiRenewal, RenewalResult } from './pki-renewal.ts';
import type { PostRotation } from './post-rotation.ts';

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

/** What one configuration needs. */
interface Work {
  readonly config: PkiConfig;
  readonly file: string | undefined;
  readonly record: PkiRecord;
  /** Aborted by the next configuration. */
  readonly signal: AbortSignal;
}

/**
 * Runs a command at least once an hour, which renews the control-plane certificates of this
 * machine. Only the shutdown of the agent waits for it.
 */
export class PkiRenewals implements AsyncDisposable {
  readonly #options: PkiRenewalsOptions;
  #record: PkiRecord | undefined;
  #hooks: PostRotation | undefined;
  /** Ends the running command. */
  readonly #stop = new AbortController();
  /** Ends the wait for the next check, but not the running command. */
  #replaced = new AbortController();
  #working: Promise<void> = Promise.resolve();

  constructor(options: PkiRenewalsOptions) {
    this.#options = options;
  }

  /** Undefined while the renewal is disabled. */
  get status(): PkiStatus | undefined {
    const status = this.#record?.status;
    return status && { ...status, ...this.#hooks?.status(status.directory) };
  }

  /**
   * Applies a configuration, and checks at once. Without a configuration, the renewal is disabled.
   * @param file the configuration file, whose permissions the hooks require
   */
  apply(config: PkiConfig | undefined, file?: string): void {
    this.#replaced.abort();
    this.#replaced = new AbortController();
    if (config === undefined) {
      this.#record = undefined;
      return;
    }
    const { signal } = this.#replaced;
    const record = this.#recordOf(config);
    this.#record = record;
    // A renewal with the previous configuration is completed first.
    this.#working = this.#working.then(() => this.#work({ config, file, record, signal }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The running command restores what it has not finished, and reports the rest. */
  async stop(): Promise<void> {
    this.#stop.abort();
    // Hooks of certificates that are reported from now on stay pending until the next start.
    await this.#hooks?.stop();
    await this.#working;
  }

  #recordOf({ directory }: PkiConfig): PkiRecord {
    const { clock, logger, observer } = this.#options;
    if (this.#record?.status.directory === directory) return this.#record;
    return new PkiRecord({ directory, now: () => clock.now(), logger, observer });
  }

  /** Runs the hooks that an earlier run of the agent did not complete. */
  async #openHooks({ config, file }: Work): Promise<PostRotation | undefined> {
    const { directory, hooks } = config;
    if (hooks.length === 0) return undefined;
    const { PostRotation } = await import('./post-rotation.ts');
    const { journal } = this.#options;
    const environment = ({ renewed = [] }: HookedPair): Record<string, string> =>
      renewalEnvironment(directory, renewed);
    const targets = [{ name: directory, hooks, environment }];
    const opened = await PostRotation.open({ ...this.#options, file, targets });
    const serial = journal.pending(directory);
    if (serial !== undefined) {
      opened.found(directory, { serial, renewed: journal.renewed(directory) });
    }
    return opened;
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
    this.#hooks?.stored(directory, { serial: first.serial, renewed: [...new Set(names)] });
  }

  async #work(work: Work): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#hooks = await this.#openHooks(work);
    await this.#repeat(work);
    await this.#hooks?.stop();
  }

  async #repeat({ config, record, signal: replaced }: Work): Promise<void> {
    const { program, env, clock, random } = this.#options;
    const stop = this.#stop.signal;
    // Loaded only here, because most agents run on nodes without a control plane.
    const { renewUnattended } = await import('./pki-renewal.ts');
    const over = AbortSignal.any([replaced, stop]);
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
