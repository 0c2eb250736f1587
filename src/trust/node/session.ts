import type { AgentConfig, TrustConfig } from '../../core/config.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { missingFrom, unwantedIn } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { defaultDirectories } from '../../pki/layout.ts';
import type { DirectoryLock } from '../../store/directory-lock.ts';
import type { Clock } from '../../sys/clock.ts';
import type { ClockSync } from '../../sys/clock-sync.ts';
import { completeTrust } from './apply.ts';
import { clockDoubt } from './clock-doubt.ts';
import type { TrustChange } from './place-change.ts';
import type { TrustPlace } from './place.ts';
import type { FoundPlaces, PlacesRequest } from './places.ts';
import { findPlaces } from './places.ts';
import { failureOf } from './run-result.ts';
import type { DialedServer } from './servers.ts';
import { dialServers } from './servers.ts';
import { readSources } from './sources.ts';
import type { TrustFiles } from './trust-files.ts';
import { trustDirectory } from './trust-files.ts';
import { lockTrust } from './trust-lock.ts';
import type { TrustMemory } from './trust-memory.ts';
import { readTrustMemory, withReading, writeTrustMemory } from './trust-memory.ts';
import type { WantedTrust } from './wanted.ts';
import { wantedTrust } from './wanted.ts';

export interface TrustRequest {
  readonly config: AgentConfig & { readonly trust: TrustConfig };
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly clockSync: () => Promise<ClockSync>;
  /** By default the paths of this machine. */
  readonly machine?: PlacesRequest['machine'];
}

/** The trust of this node while a command changes it. No other command can do so at the same time. */
export class TrustSession implements AsyncDisposable {
  readonly request: TrustRequest;
  readonly files: TrustFiles;
  /** The time of the run. */
  readonly now: Instant;
  memory: TrustMemory;
  #found: FoundPlaces = {
    places: [],
    findings: [],
    components: [],
    directories: defaultDirectories,
  };
  readonly #lock: DirectoryLock;

  private constructor(request: TrustRequest, lock: DirectoryLock, memory: TrustMemory) {
    const { config, clock, version } = request;
    this.request = request;
    this.files = { stateDirectory: config.stateDirectory, clock, version };
    this.now = clock.now();
    this.memory = memory;
    this.#lock = lock;
  }

  /**
   * Waits for another command, completes an interrupted run, and finds the places.
   * @throws AgentError STORE_*, ABORTED
   */
  static async open(request: TrustRequest): Promise<TrustSession> {
    const session = await TrustSession.lock(request);
    try {
      await completeTrust(session.files, () => session.verify());
      await session.refresh();
      return session;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The same for a rollback, which undoes an interrupted run. */
  static async openInterrupted(request: TrustRequest): Promise<TrustSession> {
    const session = await TrustSession.lock(request);
    await session.refresh();
    return session;
  }

  /** Without the places. */
  private static async lock(request: TrustRequest): Promise<TrustSession> {
    const lock = await lockTrust(request);
    const memory = await readTrustMemory(trustDirectory(request.config));
    return new TrustSession(request, lock, memory);
  }

  get found(): FoundPlaces {
    return this.#found;
  }

  /** The places whose CAs nodecertd keeps. */
  get kept(): readonly TrustPlace[] {
    return this.#found.places.filter(({ isKept }) => isKept);
  }

  /** The CAs by which this node verifies the API server. */
  get trusted(): readonly TrustAuthority[] {
    const { kubeconfig } = this.request.config;
    return this.#found.places.find(({ path }) => path === kubeconfig)?.authorities ?? [];
  }

  /** Whether every kept place has these CAs. */
  hasEverywhere(authorities: readonly TrustAuthority[]): boolean {
    return this.kept.every((place) => missingFrom(place.authorities, authorities).length === 0);
  }

  /** The change of every kept place that can be written. */
  changes(next: (held: readonly TrustAuthority[]) => readonly TrustAuthority[]): TrustChange[] {
    return this.kept
      .filter(({ problem }) => problem === undefined)
      .map((place) => ({ place, authorities: next(place.authorities) }));
  }

  async refresh(): Promise<void> {
    const { config, machine } = this.request;
    this.#found = await findPlaces({ config, ...(machine && { machine }) });
  }

  /** What the sources say about the CAs of the cluster. @throws AgentError ABORTED */
  async readWanted(): Promise<WantedTrust> {
    const { config, version, clock, signal } = this.request;
    const { file, pins } = config.trust;
    try {
      using access = await this.openAccess();
      const options = { access, version, clock, signal, ...(file !== undefined && { file }) };
      const readings = await readSources(options);
      return wantedTrust(readings, { held: this.trusted, pins, now: this.now });
    } catch (error) {
      return { failure: failureOf(error), sources: [], findings: [] };
    }
  }

  /** The trusted CAs that the sources lack, or lacked when they could be read last. */
  unwanted({ authorities }: WantedTrust): TrustAuthority[] {
    if (authorities !== undefined) return unwantedIn(this.trusted, authorities);
    const { missingSince } = this.memory;
    return this.trusted.filter(({ fingerprint }) => missingSince[fingerprint] !== undefined);
  }

  /** Notes how long the sources have lacked a trusted CA. */
  countMissing(wanted: WantedTrust): void {
    if (wanted.authorities === undefined) return;
    const unwanted = fingerprintsOf(this.unwanted(wanted));
    this.memory = withReading(this.memory, unwanted, this.now);
  }

  /** Why the clock of this node may be wrong. */
  async clockDoubt(): Promise<string | undefined> {
    return clockDoubt(this.trusted, { now: this.now, sync: await this.request.clockSync() });
  }

  /** The credential of this node. @throws AgentError KUBECONFIG_* */
  async openAccess(): Promise<ClusterAccess> {
    return loadKubeconfig(this.request.config.kubeconfig);
  }

  /** What the API servers serve, and whether these CAs alone verify it. @throws AgentError KUBECONFIG_* */
  async dial(authorities: readonly TrustAuthority[]): Promise<DialedServer[]> {
    return this.dialFrom(this.request.config.kubeconfig, authorities);
  }

  /** The same for the server of another kubeconfig. @throws AgentError KUBECONFIG_* */
  async dialFrom(
    kubeconfig: string,
    authorities: readonly TrustAuthority[],
  ): Promise<DialedServer[]> {
    using access = await loadKubeconfig(kubeconfig);
    return await dialServers({ ...this.request, access, authorities });
  }

  /** Checks the CAs that are on disk now. @throws AgentError API_UNTRUSTED, KUBECONFIG_* */
  async verify(): Promise<void> {
    await this.refresh();
    const dialed = await this.dial(this.trusted);
    const unverified = dialed.find((server) => server.kind === 'unverified');
    if (unverified === undefined) return;
    const { address, code } = unverified;
    const { kubeconfig } = this.request.config;
    throw new AgentError(
      'API_UNTRUSTED',
      `the CAs that are now in ${kubeconfig} do not verify the API server at ${address} (${code})`,
    );
  }

  /** @throws AgentError STORE_* */
  async save(): Promise<void> {
    await writeTrustMemory(trustDirectory(this.request.config), this.memory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock[Symbol.asyncDispose]();
  }
}

export function fingerprintsOf(authorities: readonly TrustAuthority[]): string[] {
  return authorities.map(({ fingerprint }) => fingerprint);
}
