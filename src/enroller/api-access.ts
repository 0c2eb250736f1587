import * as v from 'valibot';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import { AgentError, describeError, hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { credentialValidity, loadValidKubeconfig } from '../kube/credential-validity.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { NodeKubeconfig } from '../store/node-kubeconfig.ts';
import type { Clock } from '../sys/clock.ts';
import { isNamedBy, storedIdentity } from './stored-identity.ts';

export type CredentialSource = 'kubeconfig' | 'bootstrap';

export interface ApiAccessOptions {
  readonly config: Pick<
    AgentConfig,
    'kubeconfig' | 'bootstrapKubeconfig' | 'nodeName' | 'stateDirectory'
  >;
  /** The `-current.pem` of the client certificate, if this agent manages one. */
  readonly clientPair?: string | undefined;
  readonly version: string;
  readonly clock: Clock;
  readonly report: (notice: EnrollerNotice) => void;
}

/**
 * The client for the API server with the node's present identity. Callers get it from
 * `current()` for each request, so that `refresh()` moves all of them to connections with a
 * new client certificate: an open connection keeps the identity that it began with.
 */
export class ApiAccess implements AsyncDisposable {
  readonly #options: ApiAccessOptions;
  #client: KubeClient | undefined;
  #source: CredentialSource | undefined;
  #stale = false;
  /** Local clock minus server clock in milliseconds, by the latest answer. */
  #skew: number | undefined;
  /** The current client uses the pair of this agent, not the one that a kubeconfig names. */
  #usesOwn = false;
  #opening: Promise<void> | undefined;
  #openingNext: Promise<void> | undefined;
  readonly #draining = new Set<Promise<void>>();

  constructor(options: ApiAccessOptions) {
    this.#options = options;
  }

  /** The client for the next request. Do not keep it across a wait. */
  current(): KubeClient {
    if (this.#client === undefined) throw new AgentError('INTERNAL', 'no API client is open');
    return this.#client;
  }

  /** Which credential the current client uses. */
  get source(): CredentialSource | undefined {
    return this.#source;
  }

  /**
   * Opens a client for an attempt, unless there is one with a usable credential. It reads the
   * bootstrap kubeconfig each time, because an expired token in it may have been replaced.
   * @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED
   */
  async ready(): Promise<void> {
    if (this.#source === 'bootstrap') await this.refresh();
    else await this.opened();
  }

  /**
   * Opens a client if there is no usable one. Unlike `ready()`, it leaves the watches of a
   * bootstrap client open. @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED
   */
  async opened(): Promise<void> {
    if (this.#client === undefined || this.#stale || this.#expired) await this.refresh();
  }

  /** Has the next attempt read the files again, after the server rejected the credential. */
  invalidate(): void {
    this.#stale = true;
  }

  /**
   * Opens a client with the present content of the files, and lets the old one finish its
   * requests. An opening that began earlier does not count: it may have read the files
   * before they changed.
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
   * The time at the API server, by the Date header of any answer, even an error.
   * @throws AgentError as KubeClient.request, without an answer
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

  /** A client with another credential than the current one, to try that out. */
  async openWith(access: ClusterAccess): Promise<KubeClient> {
    const { version, clock, report } = this.#options;
    return KubeClient.open({
      access,
      version,
      clock,
      onRequest: (record) => report({ type: 'api-request', ...record }),
      onDate: (serverTime) => {
        // The header has whole seconds, rounded down by half a second on average.
        const ms = clock.now() - (serverTime + 500);
        this.#skew = Math.abs(ms) <= 1_000 ? 0 : ms;
        report({ type: 'clock-skew', ms: this.#skew });
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening?.catch(() => undefined);
    this.#replace(undefined);
    await Promise.all(this.#draining);
  }

  get #expired(): boolean {
    const access = this.#client?.access;
    const validity = access === undefined ? undefined : credentialValidity(access);
    return validity !== undefined && validity.notAfter <= this.#options.clock.now();
  }

  async #open(): Promise<void> {
    const { report } = this.#options;
    const { access, source } = await this.#load();
    const client = await this.#openOwned(access);
    if (source !== this.#source) report({ type: 'credential', source });
    const { server, insecureSkipTlsVerify } = access.cluster;
    if (insecureSkipTlsVerify) report({ type: 'insecure', server });
    this.#source = source;
    this.#stale = false;
    this.#replace(client);
  }

  async #openOwned(access: ClusterAccess): Promise<KubeClient> {
    try {
      return await this.openWith(access);
    } catch (error) {
      access[Symbol.dispose]();
      throw error;
    }
  }

  #replace(client: KubeClient | undefined): void {
    const old = this.#client;
    this.#client = client;
    if (old === undefined) return;
    const drained = this.#drain(old).finally(() => this.#draining.delete(drained));
    this.#draining.add(drained);
  }

  async #drain(client: KubeClient): Promise<void> {
    await client.close().catch(() => undefined);
    client.access[Symbol.dispose]();
  }

  /**
   * The pair of this agent with the cluster of the kubeconfig. Without a pair, the kubeconfig
   * if it is valid, otherwise the bootstrap kubeconfig. Without a bootstrap kubeconfig it
   * throws the error of the kubeconfig.
   */
  async #load(): Promise<{ access: ClusterAccess; source: CredentialSource }> {
    const { config, clock } = this.#options;
    const { kubeconfig, bootstrapKubeconfig } = config;
    const own = await this.#loadOwn();
    if (own !== undefined) return { access: own, source: 'kubeconfig' };
    if (bootstrapKubeconfig === undefined) {
      return { access: await loadKubeconfig(kubeconfig), source: 'kubeconfig' };
    }
    try {
      return { access: await loadValidKubeconfig(kubeconfig, clock.now()), source: 'kubeconfig' };
    } catch (error) {
      const access = await this.#loadBootstrap(bootstrapKubeconfig, error);
      await this.#requireReplaceable(access);
      return { access, source: 'bootstrap' };
    }
  }

  /**
   * The kubeconfig is written when the bootstrap has succeeded. A file there that is not
   * ours stops it before the token is used and a CSR is created.
   */
  async #requireReplaceable(bootstrap: ClusterAccess): Promise<void> {
    try {
      await this.#nodeKubeconfig?.requireReplaceable([bootstrap.cluster]);
    } catch (error) {
      bootstrap[Symbol.dispose]();
      throw error;
    }
  }

  get #nodeKubeconfig(): NodeKubeconfig | undefined {
    const { clientPair: certificatePath, config, clock } = this.#options;
    return certificatePath === undefined
      ? undefined
      : new NodeKubeconfig({ config, certificatePath, clock });
  }

  async #loadOwn(): Promise<ClusterAccess | undefined> {
    const { clientPair, clock, config, report } = this.#options;
    // The server has just rejected this pair, so try the credential of the kubeconfig, if it has another.
    const refused = this.#stale && this.#usesOwn;
    this.#usesOwn = false;
    if (clientPair === undefined) return undefined;
    const identity = await storedIdentity(clientPair, clock.now());
    if (identity === undefined) return undefined;
    const access = await this.#loadCluster();
    if (access === undefined) {
      identity.certificate.key.wipe();
      return undefined;
    }
    const named = isNamedBy(access, identity);
    access[Symbol.dispose]();
    if (!named && access.path === config.kubeconfig) {
      report({ type: 'stale-kubeconfig', path: access.path, pair: clientPair });
    }
    if (!named && refused) {
      identity.certificate.key.wipe();
      return undefined;
    }
    this.#usesOwn = true;
    const { path, cluster } = access;
    const { certificate } = identity;
    // Only the user entry that names the pair says as whom the pair is used.
    const { impersonation } = named ? access.credential : {};
    return {
      path,
      cluster,
      credential: {
        clientCertificate: certificate,
        ...(impersonation !== undefined && { impersonation }),
      },
      [Symbol.dispose]: () => certificate.key.wipe(),
    };
  }

  /** Where the API server is: also while the kubeconfig is lost, as the own pair is still valid. */
  async #loadCluster(): Promise<ClusterAccess | undefined> {
    const { kubeconfig, bootstrapKubeconfig } = this.#options.config;
    for (const path of [kubeconfig, this.#nodeKubeconfig?.rememberedFile, bootstrapKubeconfig]) {
      if (path === undefined) continue;
      const access = await loadKubeconfig(path).catch(() => undefined);
      if (access !== undefined) return access;
    }
    return undefined;
  }

  async #loadBootstrap(path: string, unusable: unknown): Promise<ClusterAccess> {
    try {
      return await loadKubeconfig(path);
    } catch (error) {
      if (!hasCode(error, 'KUBECONFIG_MISSING')) throw error;
      // Both are missing or unusable: the error names both files.
      const message = `${error.message}; ${describeError(unusable)}`;
      throw error.withMessage(message);
    }
  }
}
