import * as v from 'valibot';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import { describeError, hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { credentialValidity, loadValidKubeconfig } from '../kube/credential-validity.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { CurrentClient } from '../kube/current-client.ts';
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
 * The client for the API server with the node's current identity. Callers get the client from
 * `current()` for each request, because an open connection keeps its identity: after
 * `refresh()`, all requests use connections with the new client certificate.
 */
export class ApiAccess implements AsyncDisposable {
  readonly #options: ApiAccessOptions;
  readonly #client = new CurrentClient();
  #source: CredentialSource | undefined;
  #stale = false;
  /** Local clock minus server clock in milliseconds, from the latest response. */
  #skew: number | undefined;
  /** The current client uses the pair of this agent, not the credential of a kubeconfig. */
  #usesOwn = false;
  #opening: Promise<void> | undefined;
  #openingNext: Promise<void> | undefined;

  constructor(options: ApiAccessOptions) {
    this.#options = options;
  }

  /** The client for the next request. Do not keep it across a wait. */
  current(): KubeClient {
    return this.#client.get();
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
    if (!this.#client.isOpen || this.#stale || this.#expired) await this.refresh();
  }

  /** Makes the next attempt read the files again. */
  invalidate(): void {
    this.#stale = true;
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
    await this.#opening?.catch(() => undefined);
    await this.#client[Symbol.asyncDispose]();
  }

  get #expired(): boolean {
    const validity = credentialValidity(this.#client.get().access);
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
    this.#client.replace(client);
  }

  async #openOwned(access: ClusterAccess): Promise<KubeClient> {
    try {
      return await this.openWith(access);
    } catch (error) {
      access[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Loads the first usable credential: the pair of this agent with the cluster of the
   * kubeconfig, a valid kubeconfig, the bootstrap kubeconfig. If no bootstrap kubeconfig is
   * configured, throws the error of the kubeconfig.
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
   * A successful bootstrap writes the kubeconfig. If nodecertd may not replace the file at that
   * path, this fails before the bootstrap uses the token and creates a CSR.
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
    const rejected = this.#stale && this.#usesOwn;
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
    if (!named && rejected) {
      identity.certificate.key.wipe();
      return undefined;
    }
    this.#usesOwn = true;
    const { path, cluster } = access;
    const { certificate } = identity;
    // Impersonation applies only if the user entry names this pair.
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

  /** The address of the API server. Other files provide it if the kubeconfig is lost, because the pair of this agent stays valid. */
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
