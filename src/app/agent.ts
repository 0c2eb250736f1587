import type { ChildProcess } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';
import { forkEnroller } from '../keeper/fork-enroller.ts';
import type { LaunchEnroller } from '../keeper/enroller-link.ts';
import { InventoryScans } from '../keeper/inventory-scans.ts';
import { Keeper } from '../keeper/keeper.ts';
import { PkiRenewals } from '../keeper/pki-renewals.ts';
import { TrustSyncs } from '../keeper/trust-syncs.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Greeting } from '../core/enroller-protocol.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import { hostNameProblem } from '../core/host-name.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { version } from '../core/version.ts';
import { AgentMetrics } from '../metrics/agent-metrics.ts';
import type { MetricsServer } from '../metrics/server.ts';
import { startMetricsServer } from '../metrics/server.ts';
import { systemClock } from '../sys/clock.ts';
import { createLogger } from '../sys/log.ts';
import { releaseMemory } from '../sys/memory.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { AgentResources, AgentParts } from './agent-parts.ts';
import { exchangeParts, acquireResources } from './agent-parts.ts';
import type { ControlSocket } from './control-socket.ts';
import { openControlSocket } from './control-socket.ts';
import { enrollerProgram, secureHeap } from './enroller-program.ts';
import { ReplaceableLogger } from './replaceable-logger.ts';
import type { ServiceNotifier } from './service-notifier.ts';
import { Slot } from './slot.ts';

export interface AgentOptions {
  readonly config: LoadedConfig;
  /** Reads the configuration again. @throws AgentError CONFIG_* if it is invalid */
  readonly loadConfig: () => Promise<LoadedConfig>;
  readonly notifier: ServiceNotifier;
  /** The enroller process that main.ts started early. */
  readonly started?: ChildProcess | undefined;
}

/**
 * The agent from its lock to its last log line. All parts use the same configuration; a
 * reload replaces it completely or changes nothing.
 */
export class Agent {
  readonly logger: ReplaceableLogger;
  readonly #options: AgentOptions;
  readonly #metrics: AgentMetrics;
  readonly #inventory: InventoryScans;
  readonly #startedAt = systemClock.now();
  #config: LoadedConfig;
  #earlyEnroller: ChildProcess | undefined;
  #parts: AgentParts | undefined;
  #pki: PkiRenewals | undefined;
  #trust: TrustSyncs | undefined;
  #keeper: Keeper | undefined;
  /** Stops the current keeper. */
  #generation = new AbortController();
  #working: Promise<void> = Promise.resolve();
  /** Settles when a reload has replaced the keeper. */
  #replaced = Promise.withResolvers<void>();
  #reloading: Promise<void> = Promise.resolve();

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#earlyEnroller = options.started;
    this.logger = new ReplaceableLogger(createLogger(options.config.log));
    this.#inventory = new InventoryScans({
      program: inventoryProgram,
      clock: systemClock,
      logger: this.logger,
    });
    this.#metrics = new AgentMetrics({
      status: () => this.status(),
      health: () => this.keeper,
      kubeletNames: () => this.#config.metrics.kubeletNames,
      inventory: () => this.#inventory.exported,
    });
  }

  status(): AgentStatus {
    const { placeholderHostName } = this.#config;
    const pki = this.#pki?.status;
    const trustSync = this.#trust?.status;
    return {
      ...this.keeper.status(),
      ...(placeholderHostName !== undefined && { placeholderHostName }),
      ...(pki !== undefined && { pki }),
      ...(trustSync !== undefined && { trustSync }),
    };
  }

  /** @throws AgentError CONFIG_INVALID while the agent waits for a host name; as Keeper.renew() */
  renew(names: readonly string[]): readonly CertificateStatus[] {
    requireHostName(this.#config);
    return this.keeper.renew(names);
  }

  /**
   * Runs until the signal.
   * @throws AgentError STORE_LOCKED, METRICS_LISTEN, and any other failure to start
   */
  async run(signal: AbortSignal): Promise<void> {
    await using stack = new AsyncDisposableStack();
    const { logger } = this;
    const config = this.#config;
    const resources = await acquireResources(config, logger, stack);
    this.#keeper = this.#newKeeper(config, resources);
    const server = stack.use(new Slot(await this.#listen(config.metrics)));
    const control = stack.use(new Slot(await this.#openControl(config.stateDirectory)));
    this.#parts = { ...resources, server, control };
    signal.addEventListener('abort', () => this.#stopping(), { once: true });
    stack.use(this.#inventory).apply(config.inventory);
    this.#pki = stack.use(this.#newPkiRenewals(resources));
    this.#pki.apply(config.pki, config.file);
    this.#trust = stack.use(this.#newTrustSyncs(resources));
    this.#trust.apply(config);
    if (config.placeholderHostName === undefined) this.#started(config);
    this.#announce(config);
    if (config.placeholderHostName !== undefined) await this.#waitForHostName(signal);
    await this.#work(signal);
    logger.log('agent_stopped');
  }

  #started({ nodeName: node, certificateDirectory: directory, certificates }: LoadedConfig): void {
    const names = certificates.map(({ name }) => name);
    this.logger.log('agent_started', { version, node, directory, certificates: names });
  }

  /**
   * DHCP or cloud-init may set the host name long after the start. Until then the keeper
   * does not run: a first certificate for the wrong name can be corrected only by hand.
   */
  async #waitForHostName(signal: AbortSignal): Promise<void> {
    const { notifier, loadConfig } = this.#options;
    const problem = hostNameProblem(this.#config);
    this.logger.log('host_name_missing', { error: problem?.message, remedy: problem?.remedy });
    while (!signal.aborted && this.#config.placeholderHostName !== undefined) {
      notifier.round(this.status());
      const pause = Math.min(notifier.longestPause, hostNameInterval);
      await systemClock.sleep(pause, signal).catch(() => undefined);
      // Skips an invalid configuration. When the administrator reloads it, the log has the reason.
      const next = await loadConfig().catch(() => undefined);
      if (next !== undefined && next.placeholderHostName === undefined) await this.reload();
    }
    if (!signal.aborted) this.#started(this.#config);
  }

  /**
   * Reads and applies the configuration. An invalid one is refused as a whole, and the
   * log says why. Reloads run one after the other.
   */
  async reload(): Promise<void> {
    const turn = this.#reloading.then(() => this.#reload());
    this.#reloading = turn;
    await turn;
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#generation = new AbortController();
      const either = AbortSignal.any([signal, this.#generation.signal]);
      this.#working = this.keeper.run(either);
      await this.#working;
      // If there was no stop signal, a reload stopped the keeper.
      if (!signal.aborted) await this.#replaced.promise;
    }
  }

  async #reload(): Promise<void> {
    const { notifier, loadConfig } = this.#options;
    notifier.reloading();
    try {
      const next = await loadConfig();
      if (this.#config.placeholderHostName === undefined) requireHostName(next);
      const changed = differences(this.#config, next);
      await this.#change(next, changed);
      this.logger.log('config_reloaded', { path: next.file, changed });
      this.#metrics.recordReload('accepted', systemClock.now());
    } catch (error) {
      const { code, message, remedy } = toFailure(error);
      const path = this.#config.file;
      this.logger.log('config_refused', { path, code, error: message, remedy });
      this.#metrics.recordReload('refused', systemClock.now());
    } finally {
      notifier.reloaded();
    }
  }

  async #change(next: LoadedConfig, changed: readonly Key[]): Promise<void> {
    const { parts } = this;
    await using _ = await exchangeParts(parts, {
      from: this.#config,
      to: next,
      logger: this.logger,
      listen: this.#listen,
      openControl: this.#openControl,
    });
    this.#config = next;
    this.logger.replace(createLogger(next.log));
    if (changed.includes('inventory')) this.#inventory.apply(next.inventory);
    if (changed.includes('pki')) this.#pki?.apply(next.pki, next.file);
    if (changed.some((key) => !outsideTheTrust.has(key))) this.#trust?.apply(next);
    if (changed.some((key) => !outsideTheKeeper.has(key))) await this.#replaceKeeper(next);
    this.#announce(next);
  }

  /** Pending requests end with the old keeper and count like those of an earlier run. */
  async #replaceKeeper(config: LoadedConfig): Promise<void> {
    this.#replaced = Promise.withResolvers();
    this.#generation.abort();
    await this.#working;
    this.#keeper = this.#newKeeper(config, this.parts);
    this.#replaced.resolve();
  }

  #newKeeper(config: LoadedConfig, parts: AgentResources): Keeper {
    const { hold, journal, hookJournal, reissues } = parts;
    const { notifier } = this.#options;
    return new Keeper({
      config,
      version,
      clock: systemClock,
      random: Math.random,
      interfaces: interfaceAddresses,
      launch: this.#launchEnroller(config),
      logger: this.logger,
      observer: this.#metrics,
      releaseMemory,
      preflight: true,
      startedAt: this.#startedAt,
      journal,
      hookJournal,
      reissues,
      directoryLock: { renew: () => hold.content.renew() },
      longestPause: () => notifier.longestPause,
      onRound: (status) => notifier.round(status),
      ...(config.file !== undefined && { configFile: config.file }),
    });
  }

  #newPkiRenewals({ hookJournal: journal }: AgentResources): PkiRenewals {
    return new PkiRenewals({
      ...keyProgram,
      clock: systemClock,
      random: Math.random,
      logger: this.logger,
      observer: this.#metrics,
      journal,
    });
  }

  #newTrustSyncs({ hookJournal: journal, reissues }: AgentResources): TrustSyncs {
    return new TrustSyncs({
      ...keyProgram,
      clock: systemClock,
      random: Math.random,
      logger: this.logger,
      observer: this.#metrics,
      journal,
      reissues,
      pairs: () => this.keeper.pairs,
    });
  }

  #launchEnroller(config: LoadedConfig): LaunchEnroller {
    const greeting: Greeting = { config, version };
    const isWaiting = config.placeholderHostName !== undefined;
    // The early process is used once, by the first keeper that runs.
    const started = isWaiting ? undefined : this.#earlyEnroller;
    if (!isWaiting) this.#earlyEnroller = undefined;
    return forkEnroller({
      ...enrollerProgram,
      greeting,
      ...(started !== undefined && { started }),
    });
  }

  readonly #listen = (config: LoadedConfig['metrics']): Promise<MetricsServer> =>
    startMetricsServer({
      metrics: this.#metrics,
      status: () => this.status(),
      health: () => this.keeper,
      config,
    });

  readonly #openControl = (stateDirectory: string): Promise<ControlSocket> =>
    openControlSocket(
      stateDirectory,
      { status: () => this.status(), renew: (names) => this.renew(names) },
      this.logger,
    );

  /** Logs the addresses and the configuration warnings, and saves the addresses in state.json. */
  #announce({ warnings }: LoadedConfig): void {
    const { state, server, control } = this.parts;
    for (const warning of warnings) this.logger.log('config_warning', { warning });
    const metricsAddress = new URL(server.content.url).host;
    const { path: controlSocket } = control.content;
    state.content.setRun({
      pid: process.pid,
      startedAt: this.#startedAt,
      metricsAddress,
      ...(controlSocket !== undefined && { controlSocket }),
    });
    this.logger.log('metrics_listening', { address: server.content.listening });
  }

  #stopping(): void {
    this.logger.log('agent_stopping');
    this.#options.notifier.stopping();
    // The service manager signals the command as well, and its end must not count as a failure.
    void this.#pki?.stop();
    void this.#trust?.stop();
  }

  get keeper(): Keeper {
    if (this.#keeper === undefined) throw new AgentError('INTERNAL', 'the agent is not running');
    return this.#keeper;
  }

  get parts(): AgentParts {
    if (this.#parts === undefined) throw new AgentError('INTERNAL', 'the agent is not running');
    return this.#parts;
  }
}

/** As in nodecertd.sh, for commands that read or create private keys. */
const keyProgram = {
  program: [process.execPath, ...secureHeap, enrollerProgram.program],
  env: enrollerProgram.env ?? {},
};

/** As in nodecertd.sh. The flags of this process would make a command slow. */
const inventoryProgram = [
  process.execPath,
  '--max-semi-space-size=1',
  '--no-opt',
  '--concurrent-maglev-max-threads=1',
  enrollerProgram.program,
];

/** How often a waiting agent reads the host name. */
const hostNameInterval = 5 * second;

/** @throws AgentError CONFIG_INVALID */
function requireHostName(config: LoadedConfig): void {
  const problem = hostNameProblem(config);
  if (problem === undefined) return;
  throw new AgentError('CONFIG_INVALID', problem.message, { remedy: problem.remedy });
}

type Key = Exclude<keyof LoadedConfig, 'file' | 'warnings'>;

/** The keys whose values differ. */
function differences(a: LoadedConfig, b: LoadedConfig): Key[] {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]) as ReadonlySet<keyof LoadedConfig>;
  return [...keys].filter(
    (key): key is Key => key !== 'file' && key !== 'warnings' && !isDeepStrictEqual(a[key], b[key]),
  );
}

/** Keys that can change without a new keeper, and so without losing pending requests. */
const outsideTheKeeper: ReadonlySet<Key> = new Set<Key>([
  'log',
  'metrics',
  'inventory',
  'pki',
  'trust',
]);

/** Keys that `trust sync` does not use. */
const outsideTheTrust: ReadonlySet<Key> = new Set<Key>(['log', 'metrics', 'inventory', 'pki']);
