import type { AgentConfig, TrustConfig } from '../core/config.ts';
import type { HookedPair } from '../core/hooks.ts';
import { trustEnvironment, trustHookTarget } from '../core/hooks.ts';
import { formatInstant, second } from '../core/instant.ts';
import type { TrustStatus } from '../core/status.ts';
import { trustSyncInterval, trustSyncRetryDelay } from '../core/timing.ts';
import type { TrustReport } from '../core/trust-report.ts';
import type { Clock } from '../sys/clock.ts';
import { timerOnEitherClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import { ChangedFiles, fileSignature } from './changed-files.ts';
import type { Work, WorkSignals } from './configured-work.ts';
import { ConfiguredWork } from './configured-work.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import type { CurrentPairs, TrustReissues } from './trust-reissues.ts';
import type { TrustObserver } from './trust-record.ts';
import { heldBy, TrustRecord } from './trust-record.ts';
import type { TrustSync, TrustSyncConfig } from './trust-sync.ts';

export interface TrustSyncsOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Draws a number in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly observer: TrustObserver & HookObserver;
  readonly journal: HookJournal;
  readonly reissues: TrustReissues;
  /** The current key pairs of the agent. */
  readonly pairs: () => CurrentPairs;
}

export type TrustSyncsConfig = TrustSyncConfig &
  Pick<AgentConfig, 'trust' | 'certificates' | 'placeholderHostName'>;

/** What one configuration needs. */
interface Run {
  readonly config: TrustSyncConfig;
  readonly trust: TrustConfig;
  readonly record: TrustRecord;
}

/**
 * Runs `trust sync` every ten minutes, and within a minute of a change of `trust.file`. Only the
 * shutdown of the agent waits for it.
 */
export class TrustSyncs implements AsyncDisposable {
  readonly #options: TrustSyncsOptions;
  readonly #work: ConfiguredWork;
  #record: TrustRecord | undefined;

  constructor(options: TrustSyncsOptions) {
    this.#options = options;
    this.#work = new ConfiguredWork(options);
  }

  /** Undefined while `trust` is disabled. */
  get status(): TrustStatus | undefined {
    if (this.#record === undefined) return undefined;
    const { reissues, pairs } = this.#options;
    const { hooks } = this.#work.hooks?.status(trustHookTarget) ?? {};
    return {
      ...this.#record.status,
      reissues: reissues.status(pairs()),
      ...(hooks !== undefined && { hooks }),
    };
  }

  /** Applies a configuration, and runs the command at once if `trust` is enabled. */
  apply(config: TrustSyncsConfig): void {
    const { nodeName, certificates, placeholderHostName } = config;
    // Without a host name, the agent does not know its Node yet.
    const trust = placeholderHostName === undefined ? config.trust : undefined;
    const { clock, logger, observer, reissues } = this.#options;
    reissues.apply(trust && { trust, nodeName, certificates });
    if (trust === undefined) {
      this.#record = undefined;
      return this.#work.replace(undefined);
    }
    this.#record ??= new TrustRecord({ now: () => clock.now(), logger, observer });
    this.#work.replace(this.#workOf({ config, trust, record: this.#record }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<void> {
    await this.#work.stop();
  }

  #workOf(run: Run): Work {
    const { config, trust, record } = run;
    const environment = ({ serial }: HookedPair): Record<string, string> => {
      const { report } = record.status;
      return trustEnvironment(serial, report === undefined ? [] : heldBy(report));
    };
    return {
      file: config.file,
      target: { name: trustHookTarget, hooks: trust.hooks, environment },
      pending: (serial) => ({ serial }),
      repeat: (signals) => this.#repeat(run, signals),
    };
  }

  async #repeat({ config, trust, record }: Run, { over, stop }: WorkSignals): Promise<void> {
    const { program, env, clock, random, pairs } = this.#options;
    // Loaded only here, because the keeper needs it only if `trust` is enabled.
    const { syncTrust } = await import('./trust-sync.ts');
    const files = new ChangedFiles(trust.file === undefined ? [] : [trust.file], fileSignature);
    let failures = 0;
    // An administrator may have restarted the agent because the CAs of the cluster have changed.
    let refresh = true;
    while (!over.aborted) {
      await files.compare();
      const before = pairs();
      record.checking();
      const sync = await syncTrust({ program, env, config, refresh, clock, signal: stop });
      // Canceled before it changed anything.
      if (stop.aborted && sync.kind === 'failed') return;
      record.ended(sync);
      this.#takeOver(sync, before);
      failures = sync.kind === 'failed' ? failures + 1 : 0;
      const ms =
        sync.kind === 'failed'
          ? trustSyncRetryDelay(failures, random())
          : pauseAfter(sync.report, random());
      record.waiting(clock.now() + ms);
      const isChanged = async (): Promise<boolean> => (await files.compare()).length > 0;
      refresh = await this.#pause(ms, isChanged, over);
    }
  }

  /**
   * Ends early if something changed. Watches can miss a change, so this compares.
   * @returns whether something changed
   */
  async #pause(
    ms: number,
    isChanged: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { clock } = this.#options;
    const left = timerOnEitherClock(clock, ms);
    for (let rest = left(); rest > 0 && !signal.aborted; rest = left()) {
      await clock.sleep(Math.min(rest, comparisonInterval), signal).catch(() => undefined);
      if (await isChanged()) return true;
    }
    return false;
  }

  #takeOver(sync: TrustSync, before: CurrentPairs): void {
    if (sync.kind === 'failed') return;
    const { report } = sync;
    const { reissues, pairs } = this.#options;
    // The first run begins before the agent has read its pairs.
    const known = new Map([...pairs(), ...before]);
    reissues.isNodeUnreadable = report.findings.some(({ id }) => id === 'node_unreadable');
    // A run that failed may not know the CA of the signer.
    if (report.outcome !== 'failed') reissues.reported(report.leaves, known);
    this.#notify(report);
  }

  /** Also after a change by a command in a shell, or by a run that was killed. */
  #notify({ changedAt }: TrustReport): void {
    if (changedAt === undefined) return;
    const { journal } = this.#options;
    const serial = formatInstant(changedAt);
    if (journal.reported(trustHookTarget).includes(serial)) return;
    journal.addReported(trustHookTarget, [{ name: trustHookTarget, serial }]);
    this.#work.hooks?.stored(trustHookTarget, { serial });
  }
}

const comparisonInterval = 30 * second;
/** Keeps a command that always wants to run again from using a whole processor. */
const shortestPause = 10 * second;

function pauseAfter({ retryAfterSeconds = Infinity }: TrustReport, random: number): number {
  const longest = trustSyncInterval(random);
  return Math.min(Math.max(retryAfterSeconds * second, shortestPause), longest);
}
