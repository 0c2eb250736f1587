import { isFollowed } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerReport } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import { remedies } from '../core/remedies.ts';
import { minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { AfterRotation } from './after-rotation.ts';
import { areQuiet, CertificateSet } from './certificate-set.ts';
import { ChangedFiles } from './changed-files.ts';
import { ClockWatch } from './clock-watch.ts';
import type { ConnectionObserver } from './connection-log.ts';
import { ConnectionLog } from './connection-log.ts';
import type { EnrollerListener, EnrollerLoss, LaunchEnroller } from './enroller-link.ts';
import { EnrollerSupervisor } from './enroller-supervisor.ts';
import { FileWatch } from './file-watch.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import { LoopWatchdog } from './loop-watchdog.ts';
import { LookBrake } from './look-brake.ts';
import { pairSignature } from './pair-watch.ts';
import { PreflightLog } from './preflight-log.ts';
import type { RequestJournal } from './request-journal.ts';
import type { RotationObserver } from './rotation-record.ts';

/** What is counted besides the rotations themselves. */
export interface KeeperObserver extends RotationObserver, ConnectionObserver, HookObserver {
  recordEnrollerStart(): void;
  recordEnrollerEnd(reason: 'finished' | 'lost' | 'hung'): void;
}

export interface KeeperOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly clock: Clock;
  /** Draws a number in [0, 1). */
  readonly chance: () => number;
  readonly interfaces: () => readonly string[];
  readonly launch: LaunchEnroller;
  readonly logger: Logger;
  readonly observer: KeeperObserver;
  readonly journal: RequestJournal;
  readonly hookJournal: HookJournal;
  /** Gives memory back that is no longer needed; called when things have become quiet. */
  readonly releaseMemory: () => void;
  /** Keeps other agents out of the certificate directory. */
  readonly directoryLock?: {
    /** @throws AgentError when another agent has it */
    renew(): Promise<void>;
  };
  /** Files that make a difference besides the pairs: kubeconfigs and the configuration. */
  readonly configFile?: string;
  /** When the agent started; now, when absent. */
  readonly startedAt?: Instant;
  /** Milliseconds that the loop may pause at most, asked anew each time; a minute when absent. */
  readonly longestPause?: () => number;
  /** Called each time that the loop has come round. */
  readonly onRound?: (status: AgentStatus) => void;
  /** Have the enroller examine the node once, when the first certificates are there. */
  readonly preflight?: boolean;
}

/**
 * The process that lives on: knows when what is due, has the enroller do it, and
 * tells the outside. It never sees a private key, a token or the API server.
 */
export class Keeper implements EnrollerListener {
  readonly #options: KeeperOptions;
  readonly #supervisor: EnrollerSupervisor;
  readonly #certificates: CertificateSet;
  readonly #connections: ConnectionLog;
  /** Only where something is to be done after rotations. */
  #after: AfterRotation | undefined;
  /** How the pairs looked before the enroller was last sent to look at them. */
  readonly #pairs: ChangedFiles;
  readonly #brake: LookBrake;
  /** The kubeconfigs and the configuration. */
  readonly #files: ChangedFiles;
  readonly #preflight: PreflightLog;
  readonly #startedAt: Instant;
  readonly #watchdog: LoopWatchdog;
  readonly #clockWatch: ClockWatch;
  #releasedAt: Instant;
  #wake = new AbortController();

  constructor(options: KeeperOptions) {
    this.#options = options;
    const { clock, config, logger, launch } = options;
    this.#startedAt = options.startedAt ?? clock.now();
    this.#releasedAt = clock.now();
    this.#supervisor = new EnrollerSupervisor({ launch, listener: this, logger });
    this.#certificates = new CertificateSet({
      ...options,
      enroller: this.#supervisor,
      after: {
        stored: (name, pair) => this.#after?.stored(name, pair),
        found: (name, pair) => this.#after?.found(name, pair),
        wentBack: (name, pair) => this.#after?.wentBack(name, pair),
      },
    });
    this.#connections = new ConnectionLog(options);
    this.#preflight = new PreflightLog({ enroller: this.#supervisor, logger });
    this.#watchdog = new LoopWatchdog({
      clock,
      logger,
      directory: config.certificateDirectory,
    });
    this.#clockWatch = new ClockWatch(clock, logger);
    this.#pairs = new ChangedFiles(this.#certificates.paths, pairSignature);
    this.#brake = new LookBrake(clock);
    this.#files = new ChangedFiles(otherFiles(options));
  }

  /** When the loop last came round. */
  get lastTick(): Instant {
    return this.#watchdog.lastRound;
  }

  /** What the loop hangs in; undefined while it comes round. */
  get stuckAt(): string | undefined {
    return this.#watchdog.stuckAt;
  }

  /** Process id of the enroller, while there is one. */
  get enrollerPid(): number | undefined {
    return this.#supervisor.pid;
  }

  /** Computed at each call: what the clock alone changes (expired, overdue) shows even if the loop stands still. */
  status(): AgentStatus {
    const { config, version, clock } = this.#options;
    const preflight = this.#preflight.findings;
    const kubeconfig = this.#connections.kubeconfigFailure;
    return {
      version,
      pid: process.pid,
      nodeName: config.nodeName,
      startedAt: this.#startedAt,
      now: clock.now(),
      certificateDirectory: config.certificateDirectory,
      certificates: this.#certificates.status().map((certificate) => ({
        ...certificate,
        ...this.#after?.status(certificate.name),
      })),
      ...(kubeconfig !== undefined && { kubeconfig }),
      ...(preflight !== undefined && { preflight }),
    };
  }

  /**
   * Has new pairs made now, as if these certificates had to be replaced at once.
   * @returns what of each there is before
   * @throws AgentError USAGE for a name that is not kept, or only watched; none is renewed then
   */
  renew(names: readonly string[]): readonly CertificateStatus[] {
    const before = this.#certificates.status();
    const kept = before.map(({ name }) => name);
    const unknown = names.filter((name) => !kept.includes(name));
    if (unknown.length > 0) {
      throw new AgentError('USAGE', `no certificate is called ${unknown.join(', ')}`, {
        remedy: `choose among: ${kept.join(', ')}`,
      });
    }
    const observed = names.filter((name) => this.#certificates.observed.includes(name));
    if (observed.length > 0) {
      throw new AgentError('USAGE', `the kubelet rotates ${observed.join(', ')} itself`, {
        remedy: 'hand them over to the agent first: nodecertd adopt',
      });
    }
    this.#certificates.renew(names);
    this.#wake.abort();
    return before.filter(({ name }) => names.includes(name));
  }

  /** Works until the signal says stop; settles when the enroller is gone. */
  async run(signal: AbortSignal): Promise<void> {
    using watchdog = this.#watchdog;
    watchdog.start();
    // The first answers may be quicker than the watches: what is wanted has to be known by then.
    this.#certificates.tick();
    watchdog.enter('a look at the files of the pairs');
    // Before the first look: what changes after this shows, whether the look saw it or not.
    await this.#pairs.look();
    this.#after = await this.#openAfter();
    this.#certificates.start();
    watchdog.enter('setting watches');
    await using watches = await this.#watch();
    try {
      while (!signal.aborted) {
        await this.#round(watches);
        watchdog.roundDone();
        this.#options.onRound?.(this.status());
        watchdog.enter('the wait for what is due next');
        await this.#pause(signal);
        if (Math.abs(this.#options.clock.now() - this.#releasedAt) >= releaseInterval)
          this.#release();
      }
    } finally {
      await Promise.all([this.#supervisor.stop(), this.#after?.stop()]);
    }
  }

  /** Loaded only where it is needed: most agents have no hooks, and all of them live long. */
  async #openAfter(): Promise<AfterRotation | undefined> {
    const { config, hookJournal: journal } = this.#options;
    if (!config.certificates.some(isFollowed)) return undefined;
    const { AfterRotation } = await import('./after-rotation.ts');
    return AfterRotation.open({
      ...this.#options,
      journal,
      enroller: this.#supervisor,
      rotation: (name) => ({
        atRest: () => this.#certificates.atRest(name),
        rolledBack: (step) => this.#certificates.rolledBack(name, step),
      }),
    });
  }

  async #round(watches: FileWatch): Promise<void> {
    // From here on nothing that happens is slept through.
    this.#wake = new AbortController();
    this.#clockWatch.look();
    this.#watchdog.enter('a look at the lock of the certificate directory');
    await this.#options.directoryLock?.renew();
    this.#watchdog.enter('setting watches');
    await watches.renew();
    this.#watchdog.enter('a look at the files of the pairs');
    await this.#comparePairs();
    this.#watchdog.enter('a look at kubeconfigs and configuration');
    await this.#compareFiles();
    this.#certificates.tick();
    const { preflight, clock } = this.#options;
    if (preflight === true && areQuiet(this.#certificates.status(), clock.now())) {
      this.#preflight.quiet();
    }
  }

  onReport(report: EnrollerReport): void {
    switch (report.type) {
      case 'api-request':
      case 'clock-skew':
      case 'credential':
      case 'stale-kubeconfig':
      case 'kubeconfig':
      case 'insecure':
        return this.#connections.report(report);
      case 'preflight':
        return this.#preflight.report(report.findings);
      case 'served':
      case 'rolled-back':
        this.#after?.report(report);
        break;
      default:
        this.#certificates.report(report);
    }
    this.#certificates.tick();
    this.#wake.abort();
  }

  onStarted(): void {
    this.#options.observer.recordEnrollerStart();
  }

  onFinished(): void {
    this.#options.observer.recordEnrollerEnd('finished');
    this.#release();
  }

  onLost(loss: EnrollerLoss): void {
    const { logger, observer } = this.#options;
    const { code, message } = loss;
    const remedy = remedies[code];
    const failure: Failure = { code, message, remedy };
    const event = code === 'ENROLLER_HUNG' ? 'enroller_hung' : 'enroller_lost';
    logger.log(event, { code, error: message, remedy });
    observer.recordEnrollerEnd(loss.code === 'ENROLLER_HUNG' ? 'hung' : 'lost');
    this.#certificates.lost(failure);
    this.#after?.lost(failure);
    this.#wake.abort();
  }

  #release(): void {
    this.#releasedAt = this.#options.clock.now();
    this.#options.releaseMemory();
  }

  /** Sleeps until something is due, a minute at most, or until something happens. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, longestPause } = this.#options;
    const longest = Math.min(longestPause?.() ?? minute, minute);
    // A deadline in the past that nothing came of must not make the loop spin.
    const ms = Math.min(Math.max(this.#certificates.wake - clock.now(), second / 10), longest);
    try {
      await clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal]));
    } catch (error) {
      if (!hasCode(error, 'ABORTED')) throw error;
    }
  }

  /** Wakes the loop, which then looks for itself what has changed. */
  async #watch(): Promise<FileWatch> {
    return FileWatch.open({
      files: otherFiles(this.#options),
      folders: [this.#options.config.kubelet.configDirectory].filter((path) => path !== undefined),
      pairs: this.#certificates.paths,
      onChange: () => this.#wake.abort(),
    });
  }

  /**
   * Behind the watches, which can miss a change: each round of the loop compares. The
   * agent's own swap differs as well: the look that follows finds what is known.
   */
  async #comparePairs(): Promise<void> {
    const busy = this.#certificates.busyPaths;
    const changed = await this.#pairs.look((path) => busy.has(path) || this.#brake.holds(path));
    for (const path of changed) {
      this.#brake.looked(path);
      this.#certificates.disturbed(path);
    }
  }

  /** Who rotates what may be another one now. */
  #lookAgain(): void {
    for (const path of this.#certificates.paths) this.#certificates.disturbed(path);
  }

  async #compareFiles(): Promise<void> {
    const { config, configFile, logger } = this.#options;
    const ofKubelet = [config.kubelet.configFile, config.kubelet.configDirectory];
    for (const file of await this.#files.look()) {
      if (file === configFile) logger.log('config_changed', { path: file });
      else if (ofKubelet.includes(file)) this.#lookAgain();
      else this.#certificates.credentialChanged();
      // The enroller writes a missing or damaged kubeconfig again.
      if (file === config.kubeconfig) this.#certificates.kubeconfigChanged();
    }
  }
}

/** What makes a difference besides the pairs. */
function otherFiles({ config, configFile }: KeeperOptions): string[] {
  const { kubeconfig, bootstrapKubeconfig, kubelet } = config;
  const { configFile: ofKubelet, configDirectory } = kubelet;
  return [kubeconfig, bootstrapKubeconfig, configFile, ofKubelet, configDirectory].filter(
    (file) => file !== undefined,
  );
}

/** Scrapes leave garbage that nothing else collects in an idle process. */
const releaseInterval = 10 * minute;
