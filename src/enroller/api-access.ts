import * as v from 'valibot';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import type { AgentError, Failure } from '../core/errors.ts';
import { credentialFailures, toError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { ClusterAccess, ClusterEndpoint } from '../kube/cluster-access.ts';
import { credentialValidity } from '../kube/credential-validity.ts';
import { CurrentClient } from '../kube/current-client.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { ClusterDiscovery } from './cluster-discovery.ts';
import type { DiscoverCluster } from './cluster-discovery.ts';
import { CredentialFiles } from './credential-files.ts';
import type { CredentialFilesOptions, CredentialSource } from './credential-files.ts';
import type { OpenCredential } from './trust-search.ts';
import { TrustSearch } from './trust-search.ts';

export interface ApiAccessOptions extends CredentialFilesOptions {
  readonly version: string;
  readonly report: (notice: EnrollerNotice) => void;
  readonly discover: DiscoverCluster;
  /**
   * Called if the API server accepts the node's own certificate, but only another cluster entry than
   * that of the kubeconfig verifies the API server.
   */
  readonly keepTrust?: (cluster: ClusterEndpoint) => Promise<void>;
}

/**
 * The client for the API server with the node's current identity. Callers get the client from
 * `current()` for each request, because an open connection keeps its identity: after
 * `refresh()`, all requests use connections with the new client certificate.
 */
export class ApiAccess implements AsyncDisposable {
  readonly #options: ApiAccessOptions;
  readonly #files: CredentialFiles;
  readonly #search: TrustSearch;
  readonly #client = new CurrentClient();
  readonly #closing = new AbortController();
  #source: CredentialSource | undefined;
  #stale = false;
  /** Local clock minus server clock in milliseconds, from the latest response. */
  #skew: number | undefined;
  /** The current client uses the pair of this agent, not the credential of a kubeconfig. */
  #usesOwn = false;
  /** The API server has rejected that pair, so a client with it needs a check before its next use. */
  #isRefused = false;
  /** Why the kubeconfig cannot verify the API server, if nothing has been tried instead. */
  #untrusted: Failure | undefined;
  #opening: Promise<void> | undefined;
  #openingNext: Promise<void> | undefined;

  constructor(options: ApiAccessOptions) {
    this.#options = options;
    this.#files = new CredentialFiles(options);
    const { discovery: config } = options.config.bootstrap;
    this.#search = new TrustSearch({
      ...options,
      files: this.#files,
      discovery: config && new ClusterDiscovery({ ...options, config }),
      open: (access) => this.#openOwned(access),
      signal: this.#closing.signal,
    });
  }

  /** The client for the next request. Do not keep it across a wait. */
  current(): KubeClient {
    return this.#client.get();
  }

  /** Why no cluster entry of this node verifies the API server; undefined if one does, and without `bootstrap.discovery`. */
  get trustLost(): AgentError | undefined {
    return this.#search.lost;
  }

  /** Which credential the current client uses. */
  get source(): CredentialSource | undefined {
    return this.#source;
  }

  /**
   * Opens a client for an attempt unless there is one with a usable credential. Reads the
   * bootstrap kubeconfig each time, because it may contain a new token.
   * @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED
   */
  async ready(): Promise<void> {
    if (this.#source === 'bootstrap') await this.refresh();
    else await this.opened();
  }

  /**
   * Opens a client if there is no usable one. Unlike `ready()`, keeps the watches of a bootstrap
   * client open. @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED
   */
  async opened(): Promise<void> {
    if (!this.#client.isOpen || this.#stale || this.#isDoubtful || this.#expired)
      await this.refresh();
  }

  /** The node joins the cluster, so no kubeconfig names its pair yet. */
  get isJoining(): boolean {
    return this.#source === 'bootstrap' && !this.#isRefused;
  }

  /** Makes the next attempt read the files again. */
  invalidate(): void {
    this.#stale = true;
  }

  /**
   * A request with the current client failed.
   * @returns true if another credential or another CA on this node may help; `ready()` finds out
   */
  failed(failure: Failure): boolean {
    const { code } = failure;
    if (credentialFailures.has(code)) this.invalidate();
    if (code === 'API_UNAUTHORIZED') return (this.#isRefused ||= this.#usesOwn);
    if (code !== 'API_UNTRUSTED' || !this.#usesOwn || this.#discovers) return false;
    this.#untrusted = failure;
    return true;
  }

  /**
   * Opens a client with the current content of the files, and lets the previous client finish its
   * requests. If another call is already opening a client, this opens one more afterwards,
   * because the other call may have read the files before they changed.
   */
  async refresh(): Promise<void> {
    if (this.#opening === undefined) return this.#begin();
    const before = this.#opening.catch(() => undefined);
    this.#openingNext ??= before.then(() => {
      this.#openingNext = undefined;
      return this.#begin();
    });
    await this.#openingNext;
  }

  #begin(): Promise<void> {
    this.#opening = this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /**
   * The time at the API server, from the Date header of any response, even an error.
   * @throws AgentError as KubeClient.request, if there is no response
   */
  async serverTime(signal: AbortSignal): Promise<Instant> {
    this.#skew = undefined;
    try {
      await this.current().request({ verb: 'get', path: '/version', signal }, v.unknown());
    } catch (error) {
      if (this.#skew === undefined) throw error;
    }
    return this.#options.clock.now() - (this.#skew ?? 0);
  }

  /** Opens a client with another credential, to test that credential. */
  async openWith(access: ClusterAccess): Promise<KubeClient> {
    const { version, clock, report } = this.#options;
    return KubeClient.open({
      access,
      version,
      clock,
      onRequest: (record) => report({ type: 'api-request', ...record }),
      onDate: (serverTime) => {
        // The header is rounded down to whole seconds, so by half a second on average.
        const ms = clock.now() - (serverTime + 500);
        this.#skew = Math.abs(ms) <= 1_000 ? 0 : ms;
        report({ type: 'clock-skew', ms: this.#skew });
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#opening?.catch(() => undefined);
    await this.#client[Symbol.asyncDispose]();
  }

  /** A request with the own pair failed, also if another client was being opened at that moment. */
  get #isDoubtful(): boolean {
    return this.#usesOwn && (this.#isRefused || this.#untrusted !== undefined);
  }

  get #expired(): boolean {
    const validity = credentialValidity(this.#client.get().access);
    return validity !== undefined && validity.notAfter <= this.#options.clock.now();
  }

  async #open(): Promise<void> {
    const { report } = this.#options;
    const { client, source, isOwn } = await this.#choose().catch((error: unknown) => {
      this.#usesOwn = false;
      throw error;
    });
    this.#usesOwn = isOwn;
    if (source !== this.#source) report({ type: 'credential', source });
    const { server, insecureSkipTlsVerify } = client.access.cluster;
    if (insecureSkipTlsVerify) report({ type: 'insecure', server });
    this.#source = source;
    this.#stale = false;
    this.#client.replace(client);
  }

  async #choose(): Promise<OpenCredential> {
    const usedOwn = this.#usesOwn;
    const chosen = await this.#fromFiles({ isOwnRejected: this.#stale && usedOwn });
    this.#isRefused &&= chosen.isOwn;
    if (!this.#isRefused) return chosen;
    // Loaded only here, because few nodes ever need it.
    const { confirmationPause, replaceRefused } = await import('./refused-pair.ts');
    const settled = await replaceRefused(chosen, {
      ...this.#options,
      bootstrapFor: async (cluster) =>
        (await this.#files.bootstrapFor(cluster)) ?? (await this.#search.tokenFor(cluster)),
      open: (access) => this.#openOwned(access),
      signal: this.#closing.signal,
      pauseMs: usedOwn ? confirmationPause : 0,
    });
    this.#isRefused = !settled.isOwn;
    return settled;
  }

  async #fromFiles(rejected: { readonly isOwnRejected: boolean }): Promise<OpenCredential> {
    if (this.#discovers) return this.#search.choose(rejected);
    if (this.#untrusted !== undefined) return this.#withOtherTrust(this.#untrusted);
    const { access, ...chosen } = await this.#files.load(rejected);
    return { ...chosen, client: await this.#openOwned(access) };
  }

  /** The next attempt after a failure dials the server of the kubeconfig again. */
  async #withOtherTrust(failure: Failure): Promise<OpenCredential> {
    this.#untrusted = undefined;
    const found = await this.#search.fromBootstrap();
    if (found?.isOwn === false) this.#untrusted = failure;
    if (found !== undefined) return found;
    throw toError(failure);
  }

  get #discovers(): boolean {
    return this.#options.config.bootstrap.discovery !== undefined;
  }

  async #openOwned(access: ClusterAccess): Promise<KubeClient> {
    try {
      return await this.openWith(access);
    } catch (error) {
      access[Symbol.dispose]();
      throw error;
    }
  }
}
