import { join } from 'node:path';
import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { ApiRequestRecord, EnrollerReport } from '../core/enrollment.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode } from '../core/errors.ts';
import { templateOf } from '../core/identity.ts';
import { minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { AgentStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import { AddressBook } from './address-book.ts';
import { ChangedFiles } from './changed-files.ts';
import type { EnrollerListener, EnrollerLoss, LaunchEnroller } from './enroller-link.ts';
import { EnrollerSupervisor } from './enroller-supervisor.ts';
import { FileWatch } from './file-watch.ts';
import { pairSignature } from './pair-watch.ts';
import type { RequestJournal } from './request-journal.ts';
import type { RotationObserver } from './rotator.ts';
import { Rotator } from './rotator.ts';

/** What is counted besides the rotations themselves. */
export interface KeeperObserver extends RotationObserver {
  recordApiRequest(record: ApiRequestRecord): void;
  recordEnrollerStart(): void;
  recordEnrollerEnd(reason: 'finished' | 'lost' | 'hung'): void;
  setClockSkew(ms: number): void;
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
  /** Gives memory back that is no longer needed; called when things have become quiet. */
  readonly releaseMemory: () => void;
  /** Files that make a difference besides the pairs: kubeconfigs and the configuration. */
  readonly configFile?: string;
}

/**
 * The process that lives on: knows when what is due, has the enroller do it, and
 * tells the outside. It never sees a private key, a token or the API server.
 */
export class Keeper implements EnrollerListener {
  readonly #options: KeeperOptions;
  readonly #supervisor: EnrollerSupervisor;
  readonly #rotators: readonly Rotator[];
  readonly #addresses: AddressBook;
  readonly #signatures = new Map<string, string>();
  /** The kubeconfigs and the configuration. */
  readonly #files: ChangedFiles;
  readonly #startedAt: Instant;
  #lastTick: Instant;
  #releasedAt: Instant;
  #skewed = false;
  #wake = new AbortController();

  constructor(options: KeeperOptions) {
    this.#options = options;
    const { config, clock, logger, launch } = options;
    this.#startedAt = clock.now();
    this.#lastTick = this.#startedAt;
    this.#releasedAt = this.#startedAt;
    this.#supervisor = new EnrollerSupervisor({ launch, listener: this, logger });
    this.#rotators = config.certificates.map((spec) => this.#rotator(spec));
    this.#files = new ChangedFiles(otherFiles(options));
    this.#addresses = new AddressBook({
      ...options,
      enroller: this.#supervisor,
      refreshSeconds: config.addressRefreshSeconds,
      hostName: config.nodeName,
    });
  }

  /** When the loop last came round; a health check compares it with the clock. */
  get lastTick(): Instant {
    return this.#lastTick;
  }

  /** Process id of the enroller, while there is one. */
  get enrollerPid(): number | undefined {
    return this.#supervisor.pid;
  }

  /** Computed at each call: what the clock alone changes (expired, overdue) shows even if the loop stands still. */
  status(): AgentStatus {
    const { config, version, clock } = this.#options;
    return {
      version,
      pid: process.pid,
      nodeName: config.nodeName,
      startedAt: this.#startedAt,
      now: clock.now(),
      certificateDirectory: config.certificateDirectory,
      certificates: this.#rotators.map((rotator) => rotator.status()),
    };
  }

  /** Works until the signal says stop; settles when the enroller is gone. */
  async run(signal: AbortSignal): Promise<void> {
    // The first answers may be quicker than the watches: what is wanted has to be known by then.
    this.#tick();
    for (const rotator of this.#rotators) rotator.start();
    await using watches = await this.#watch();
    try {
      while (!signal.aborted) {
        // From here on nothing that happens is slept through.
        this.#wake = new AbortController();
        await watches.renew();
        await this.#compareSignatures();
        await this.#compareFiles();
        this.#tick();
        await this.#pause(signal);
        if (Math.abs(this.#options.clock.now() - this.#releasedAt) >= releaseInterval)
          this.#release();
      }
    } finally {
      await this.#supervisor.stop();
    }
  }

  onReport(report: EnrollerReport): void {
    switch (report.type) {
      case 'api-request':
        return this.#apiRequest(report);
      case 'clock-skew':
        return this.#clockSkew(report.ms);
      case 'credential':
        return this.#options.logger.log('credential_chosen', { source: report.source });
      case 'stale-kubeconfig':
        return this.#options.logger.log('kubeconfig_stale', {
          path: report.path,
          remedy: `let client-certificate and client-key both name ${report.pair}`,
        });
      case 'insecure':
        return this.#options.logger.log('connection_insecure', { server: report.server });
      case 'addresses':
      case 'addresses-failed':
        this.#addresses.report(report);
        break;
      default:
        this.#rotators.find(({ spec }) => spec.name === report.name)?.report(report);
        if (looks.has(report.type)) this.#sign(report.name);
    }
    this.#tick();
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
    const failure: Failure = {
      ...loss,
      remedy: 'look at the lines before this one, and for the out-of-memory killer in: dmesg',
    };
    logger.log(loss.code === 'ENROLLER_HUNG' ? 'enroller_hung' : 'enroller_lost', {
      code: loss.code,
      error: loss.message,
    });
    observer.recordEnrollerEnd(loss.code === 'ENROLLER_HUNG' ? 'hung' : 'lost');
    for (const rotator of this.#rotators) rotator.lost(failure);
    this.#addresses.lost(failure);
    // A look that was lost does not come back for a request that backs off; later changes count.
    for (const { spec } of this.#rotators) {
      if (!this.#signatures.has(spec.name)) this.#sign(spec.name);
    }
    this.#wake.abort();
  }

  #rotator(spec: CertificateSpec): Rotator {
    const { config } = this.#options;
    return new Rotator({
      ...this.#options,
      spec,
      nodeName: config.nodeName,
      path: currentPath(config, spec.name),
      enroller: this.#supervisor,
      identityReady: !this.#needsIdentity(spec),
    });
  }

  #release(): void {
    this.#releasedAt = this.#options.clock.now();
    this.#options.releaseMemory();
  }

  /** The client certificate is what the others are requested with, where this agent keeps it. */
  #needsIdentity(spec: CertificateSpec): boolean {
    const { certificates } = this.#options.config;
    return (
      spec.profile !== 'kubelet-client' &&
      certificates.some(({ profile }) => profile === 'kubelet-client')
    );
  }

  #tick(): void {
    this.#lastTick = this.#options.clock.now();
    const ready = this.#identityReady;
    this.#addresses.tick({ lookUpNode: this.#looksUpNode });
    for (const rotator of this.#rotators) {
      if (this.#needsIdentity(rotator.spec)) rotator.setIdentityReady(ready);
      rotator.setTemplate(this.#templateFor(rotator.spec));
      rotator.tick();
    }
  }

  get #identityReady(): boolean {
    const identity = this.#rotators.find(({ spec }) => spec.profile === 'kubelet-client');
    return identity === undefined || identity.usable;
  }

  /** Only the node itself may read its Node. */
  get #looksUpNode(): boolean {
    return this.#identityReady && this.#rotators.some(({ spec }) => spec.addresses === 'node');
  }

  #templateFor(spec: CertificateSpec): CertificateTemplate | undefined {
    const found = spec.addresses === 'node' ? this.#addresses.ofNode : this.#addresses.ofInterfaces;
    return templateOf(spec, found);
  }

  /** Sleeps until something is due, a minute at most, or until something happens. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const now = clock.now();
    const lookUp = this.#looksUpNode ? this.#addresses.wake : Infinity;
    const due = Math.min(lookUp, ...this.#rotators.map(({ wake }) => wake));
    // A deadline in the past that nothing came of must not make the loop spin.
    const ms = Math.min(Math.max(due - now, second / 10), minute);
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
      pairs: this.#rotators.map(({ path }) => path),
      onChange: () => this.#wake.abort(),
    });
  }

  /** Behind the watches, which can miss a change: each round of the loop compares. */
  async #compareSignatures(): Promise<void> {
    for (const rotator of this.#rotators) {
      if (rotator.storing) continue;
      const known = this.#signatures.get(rotator.spec.name);
      if (known === undefined || known === (await pairSignature(rotator.path))) continue;
      // Taken up again with what the enroller finds.
      this.#signatures.delete(rotator.spec.name);
      rotator.disturbed();
    }
  }

  async #compareFiles(): Promise<void> {
    const { configFile, logger } = this.#options;
    for (const file of await this.#files.look()) {
      if (file === configFile) logger.log('config_changed', { path: file });
      else for (const rotator of this.#rotators) rotator.credentialChanged();
    }
  }

  /** Remembers how a pair looks from outside, now that the enroller has said what it is. */
  #sign(name: string): void {
    this.#signatures.delete(name);
    void pairSignature(currentPath(this.#options.config, name)).then((signature) =>
      this.#signatures.set(name, signature),
    );
  }

  #apiRequest(record: ApiRequestRecord): void {
    const { logger, observer } = this.#options;
    const { verb, code, seconds } = record;
    observer.recordApiRequest(record);
    logger.log('api_request', { verb, code, seconds: Math.round(seconds * 1_000) / 1_000 });
  }

  /** Ten seconds apart, certificates begin to look "not yet valid" to somebody. */
  #clockSkew(ms: number): void {
    const { logger, observer } = this.#options;
    observer.setClockSkew(ms);
    const skewed = Math.abs(ms) > 10 * second;
    if (skewed && !this.#skewed) {
      const remedy = 'check time synchronisation on both sides: timedatectl';
      logger.log('clock_skew', { seconds: Math.round(ms / second), remedy });
    }
    this.#skewed = skewed;
  }
}

/** Reports after which the enroller has seen the pair as it is now. */
const looks: ReadonlySet<string> = new Set(['inspected', 'inspection-failed', 'stored']);

/** What makes a difference besides the pairs. */
function otherFiles({ config, configFile }: KeeperOptions): string[] {
  return [config.kubeconfig, config.bootstrapKubeconfig, configFile].filter(
    (file) => file !== undefined,
  );
}

/** Scrapes leave garbage that nothing else collects in an idle process. */
const releaseInterval = 10 * minute;

function currentPath(config: AgentConfig, name: string): string {
  return join(config.certificateDirectory, `${name}-current.pem`);
}
