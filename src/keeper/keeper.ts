import { join } from 'node:path';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import { currentLink, hasPostRotation } from '../core/certificate-spec.ts';
import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import { hookEnvironment } from '../core/hooks.ts';
import { minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { Rollback } from '../core/rotation-state.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { ReissuePort } from './certificate-set.ts';
import { areQuiet, CertificateSet } from './certificate-set.ts';
import { ChangedFiles, pairSignature } from './changed-files.ts';
import { ClockWatch } from './clock-watch.ts';
import type { ConnectionObserver } from './connection-log.ts';
import { ConnectionLog } from './connection-log.ts';
import type { EnrollerListener, LaunchEnroller } from './enroller-link.ts';
import { EnrollerSupervisor } from './enroller-supervisor.ts';
import { FileWatch } from './file-watch.ts';
import type { HookJournal } from './hook-journal.ts';
import type { HookObserver } from './hook-record.ts';
import { LoopWatchdog } from './loop-watchdog.ts';
import { InspectionLimiter } from './inspection-limiter.ts';
import type { HookTarget } from './hook-runner.ts';
import type { PostRotation } from './post-rotation.ts';
import type { RequestJournal } from './request-journal.ts';
import type { RotationObserver } from './rotation-record.ts';
import { StartupChecks } from './startup-checks.ts';

/** Counts events for the metrics; src/metrics implements it. */
export interface KeeperObserver extends RotationObserver, ConnectionObserver, HookObserver {
  recordEnrollerStart(): void;
  recordEnrollerEnd(reason: 'finished' | 'lost' | 'hung'): void;
}

export interface KeeperOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly clock: Clock;
  /** Draws a number in [0, 1). */
  readonly random: () => number;
  readonly interfaces: () => readonly string[];
  readonly launch: LaunchEnroller;
  readonly logger: Logger;
  readonly observer: KeeperObserver;
  readonly journal: RequestJournal;
  readonly hookJournal: HookJournal;
  /** Returns unused memory to the kernel; called while the keeper is idle. */
  readonly releaseMemory: () => void;
  /** Keeps other agents out of the certificate directory. */
  readonly directoryLock?: {
    /** @throws AgentError if another agent has the lock */
    renew(): Promise<void>;
  };
  /** Certificates to request again because the signer uses another CA. */
  readonly reissues?: ReissuePort;
  /** Watched, so that a changed configuration is logged. */
  readonly configFile?: string;
  /** When the agent started. Default: now. */
  readonly startedAt?: Instant;
  /** The longest pause of the loop in milliseconds, called before each pause. Default: a minute. */
  readonly longestPause?: () => number;
  /** Called after each round of the loop. */
  readonly onRound?: (status: AgentStatus) => void;
  /** Run the preflight checks once, after the first certificates are stored. */
  readonly preflight?: boolean;
}

/**
 * The main loop of the long-running process. It decides when a certificate is due, sends requests
 * to the enroller, and reports the status. It never sees a private key or a token, and never
 * connects to the API server.
 */
export class Keeper implements EnrollerListener {
  readonly #options: KeeperOptions;
  readonly #supervisor: EnrollerSupervisor;
  readonly #certificates: CertificateSet;
  readonly #connections: ConnectionLog;
  /** Present only if hooks or a check of the served certificate are configured. */
  #postRotation: PostRotation | undefined;
  readonly #pairs: ChangedFiles;
  readonly #inspections: InspectionLimiter;
  /** The kubeconfigs, the token file, and the configuration files of nodecertd and the kubelet. */
  readonly #files: ChangedFiles;
  readonly #checks: StartupChecks;
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
      postRotation: {
        stored: (name, pair) => this.#postRotation?.stored(name, pair),
        found: (name, pair) => this.#postRotation?.found(name, pair),
        rollbackTo: (name, pair) => this.#postRotation?.rollbackTo(name, pair),
      },
    });
    this.#connections = new ConnectionLog(options);
    this.#checks = new StartupChecks({ enroller: this.#supervisor, logger });
    this.#watchdog = new LoopWatchdog({
      clock,
      logger,
      directory: config.certificateDirectory,
    });
    this.#clockWatch = new ClockWatch(clock, logger);
    this.#pairs = new ChangedFiles(this.#certificates.paths, pairSignature);
    this.#inspections = new InspectionLimiter(clock);
    this.#files = new ChangedFiles(otherFiles(options));
  }

  /** When the last round of the loop ended. */
  get lastTick(): Instant {
    return this.#watchdog.lastRound;
  }

  /** The task in which the loop is stuck; undefined while it runs. */
  get stuckAt(): string | undefined {
    return this.#watchdog.stuckAt;
  }

  /** Process id of the enroller; undefined if none runs. */
  get enrollerPid(): number | undefined {
    return this.#supervisor.pid;
  }

  /** The current key pairs that this agent rotates, by the name of the certificate. */
  get pairs(): ReadonlyMap<string, PairFacts> {
    return this.#certificates.pairs;
  }

  /**
   * Computed at each call, so that expired and overdue certificates show even if the loop is
   * stuck.
   */
  status(): AgentStatus {
    const { config, version, clock } = this.#options;
    const preflight = this.#checks.findings;
    const kubeconfig = this.#connections.kubeconfigFailure;
    const trust = this.#certificates.lostTrust;
    return {
      version,
      pid: process.pid,
      nodeName: config.nodeName,
      startedAt: this.#startedAt,
      now: clock.now(),
      certificateDirectory: config.certificateDirectory,
      certificates: this.#certificates.status().map((certificate) => ({
        ...certificate,
        ...this.#postRotation?.status(certificate.name),
      })),
      ...(kubeconfig !== undefined && { kubeconfig }),
      ...(trust !== undefined && { trust }),
      ...(preflight !== undefined && { preflight }),
    };
  }

  /**
   * Rotates these certificates now.
   * @returns the status of each certificate before the renewal
   * @throws AgentError USAGE if a name is not configured, or if the kubelet rotates the
   * certificate. Then the keeper renews none of them.
   */
  renew(names: readonly string[]): readonly CertificateStatus[] {
    const before = this.#certificates.status();
    const kept = before.map(({ name }) => name);
    const unknown = names.filter((name) => !kept.includes(name));
    if (unknown.length > 0) {
      throw new AgentError(
        'USAGE',
        `no certificate with the name ${unknown.join(', ')} is configured`,
        {
          remedy: `Choose one of: ${kept.join(', ')}`,
        },
      );
    }
    const observed = names.filter((name) => this.#certificates.observed.includes(name));
    if (observed.length > 0) {
      throw new AgentError('USAGE', `the kubelet rotates ${observed.join(', ')} itself`, {
        remedy: 'Take over these certificates first: nodecertd adopt',
      });
    }
    this.#certificates.renew(names);
    this.#wake.abort();
    return before.filter(({ name }) => names.includes(name));
  }

  /** Runs the loop until the signal aborts. Resolves when the enroller has exited. */
  async run(signal: AbortSignal): Promise<void> {
    using watchdog = this.#watchdog;
    watchdog.start();
    // Sets the templates before the first reply, which can arrive before the watches are set.
    this.#certificates.tick();
    watchdog.enter('comparing the PEM files');
    // Compares before the first inspection, so that the next comparison finds every later change.
    await this.#pairs.compare();
    this.#postRotation = await this.#openPostRotation();
    this.#certificates.start();
    watchdog.enter('setting watches');
    await using watches = await this.#watch();
    try {
      while (!signal.aborted) {
        await this.#round(watches);
        watchdog.roundDone();
        this.#options.onRound?.(this.status());
        watchdog.enter('waiting for the next deadline');
        await this.#pause(signal);
        if (Math.abs(this.#options.clock.now() - this.#releasedAt) >= releaseInterval)
          this.#release();
      }
    } finally {
      await Promise.all([this.#supervisor.stop(), this.#postRotation?.stop()]);
    }
  }

  /** Loads the code only if needed, because most agents have no hooks and the code needs memory. */
  async #openPostRotation(): Promise<PostRotation | undefined> {
    const { config, hookJournal: journal } = this.#options;
    const targets = config.certificates.filter(hasPostRotation).map((spec) => this.#target(spec));
    if (targets.length === 0) return undefined;
    const { PostRotation } = await import('./post-rotation.ts');
    return PostRotation.open({ ...this.#options, file: config.file, journal, targets });
  }

  #target({ name, onRotate = [], served }: CertificateSpec): HookTarget {
    const path = join(this.#options.config.certificateDirectory, currentLink(name));
    const rotation = {
      isIdle: () => this.#certificates.isIdle(name),
      rolledBack: (rollback: Rollback) => this.#certificates.rolledBack(name, rollback),
    };
    return {
      name,
      hooks: onRotate,
      environment: (pair) => hookEnvironment(name, path, pair),
      ...(served !== undefined && {
        check: { spec: served, enroller: this.#supervisor, rotation },
      }),
    };
  }

  async #round(watches: FileWatch): Promise<void> {
    // An event from here on ends the pause after this round.
    this.#wake = new AbortController();
    this.#clockWatch.check();
    this.#watchdog.enter('checking the lock of the certificate directory');
    await this.#options.directoryLock?.renew();
    this.#watchdog.enter('setting watches');
    await watches.renew();
    this.#watchdog.enter('comparing the PEM files');
    await this.#comparePairs();
    this.#watchdog.enter('comparing kubeconfigs and configuration');
    await this.#compareFiles();
    this.#certificates.tick();
    const { preflight, clock } = this.#options;
    if (preflight === true && areQuiet(this.#certificates.status(), clock.now())) {
      this.#checks.runOnce();
    }
  }

  onNotice(notice: EnrollerNotice): void {
    this.#connections.notice(notice);
    // By its dates the certificate is good, so the schedule alone would not replace it.
    if (notice.type === 'identity-refused') this.#certificates.renewIdentity();
  }

  onChange(): void {
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

  onLost({ code, message, remedy }: Failure): void {
    const { logger, observer } = this.#options;
    const hung = code === 'ENROLLER_HUNG';
    logger.log(hung ? 'enroller_hung' : 'enroller_lost', { code, error: message, remedy });
    observer.recordEnrollerEnd(hung ? 'hung' : 'lost');
  }

  #release(): void {
    this.#releasedAt = this.#options.clock.now();
    this.#options.releaseMemory();
  }

  /** Sleeps until the next deadline or event, but at most a minute. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, longestPause } = this.#options;
    const longest = Math.min(longestPause?.() ?? minute, minute);
    // The minimum keeps the loop from spinning on a deadline in the past.
    const ms = Math.min(Math.max(this.#certificates.wake - clock.now(), second / 10), longest);
    try {
      await clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal]));
    } catch (error) {
      if (!hasCode(error, 'ABORTED')) throw error;
    }
  }

  /** The watches only wake the loop, which compares the files itself. */
  async #watch(): Promise<FileWatch> {
    return FileWatch.open({
      files: otherFiles(this.#options),
      folders: [this.#options.config.kubelet.configDirectory].filter((path) => path !== undefined),
      pairs: this.#certificates.paths,
      onChange: () => this.#wake.abort(),
    });
  }

  /**
   * Each round compares, because watches can miss a change. The agent's own change of the link
   * counts too; the inspection after it finds the known pair.
   */
  async #comparePairs(): Promise<void> {
    const busy = this.#certificates.busyPaths;
    const changed = await this.#pairs.compare(
      (path) => busy.has(path) || this.#inspections.isExhausted(path),
    );
    for (const path of changed) {
      this.#inspections.record(path);
      this.#certificates.filesChanged(path);
    }
  }

  /** A change of the kubelet's configuration may turn its rotation on or off. */
  #inspectAll(): void {
    for (const path of this.#certificates.paths) this.#certificates.filesChanged(path);
  }

  async #compareFiles(): Promise<void> {
    const { config, configFile, logger } = this.#options;
    const ofKubelet = [config.kubelet.configFile, config.kubelet.configDirectory];
    const busy = this.#certificates.busyPaths;
    for (const file of await this.#files.compare((path) => busy.has(path))) {
      if (file === configFile) logger.log('config_changed', { path: file });
      else if (ofKubelet.includes(file)) this.#inspectAll();
      else this.#certificates.credentialChanged();
      // The inspection rewrites a missing or corrupt kubeconfig.
      if (file === config.kubeconfig) this.#certificates.kubeconfigChanged();
    }
  }
}

/** All files to compare except the PEM files. */
function otherFiles({ config, configFile }: KeeperOptions): string[] {
  const { kubeconfig, bootstrapKubeconfig, bootstrap, kubelet } = config;
  return [
    kubeconfig,
    bootstrapKubeconfig,
    bootstrap.discovery?.tokenFile,
    configFile,
    kubelet.configFile,
    kubelet.configDirectory,
  ].filter((file) => file !== undefined);
}

/** Scrapes leave garbage, and V8 does not collect it while the process is idle. */
const releaseInterval = 10 * minute;
