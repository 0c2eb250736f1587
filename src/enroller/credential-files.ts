import type { AgentConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import { describeError, hasCode } from '../core/errors.ts';
import type { ClusterAccess, ClusterEndpoint } from '../kube/cluster-access.ts';
import { loadValidKubeconfig } from '../kube/credential-validity.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { NodeKubeconfig } from '../store/node-kubeconfig.ts';
import type { Clock } from '../sys/clock.ts';
import { isNamedBy, storedIdentity } from './stored-identity.ts';
import type { StoredIdentity } from './stored-identity.ts';

export type CredentialSource = 'kubeconfig' | 'bootstrap';

/** A credential that this node can use, and the cluster for it. */
export interface ChosenCredential {
  readonly access: ClusterAccess;
  readonly source: CredentialSource;
  /** The credential is the pair of this agent, not the credential of a kubeconfig. */
  readonly isOwn: boolean;
}

export interface CredentialFilesOptions {
  readonly config: Pick<
    AgentConfig,
    'kubeconfig' | 'bootstrapKubeconfig' | 'bootstrap' | 'nodeName' | 'stateDirectory' | 'trust'
  >;
  /** The `-current.pem` of the client certificate, if this agent manages one. */
  readonly clientPair?: string | undefined;
  readonly clock: Clock;
  readonly report: (notice: EnrollerNotice) => void;
}

/** Chooses a credential from the files of the node. */
export class CredentialFiles {
  readonly #options: CredentialFilesOptions;

  constructor(options: CredentialFilesOptions) {
    this.#options = options;
  }

  /**
   * Loads the first usable credential: the pair of this agent with the cluster of the
   * kubeconfig, a valid kubeconfig, the bootstrap kubeconfig. If nothing but the kubeconfig is
   * configured, throws the error of the kubeconfig.
   * @param isOwnRejected the API server has just rejected the pair of this agent, so try the
   * credential of the kubeconfig, if it has another
   * @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED, CERT_NOT_YET_VALID
   */
  async load({ isOwnRejected }: { readonly isOwnRejected: boolean }): Promise<ChosenCredential> {
    const { config, clock } = this.#options;
    const own = await this.#loadOwn(isOwnRejected);
    if (own !== undefined) return { access: own, source: 'kubeconfig', isOwn: true };
    const { kubeconfig, bootstrapKubeconfig, bootstrap } = config;
    if (bootstrapKubeconfig === undefined && bootstrap.discovery === undefined) {
      return { access: await loadKubeconfig(kubeconfig), source: 'kubeconfig', isOwn: false };
    }
    try {
      const access = await loadValidKubeconfig(kubeconfig, clock.now());
      return { access, source: 'kubeconfig', isOwn: false };
    } catch (error) {
      if (bootstrapKubeconfig === undefined) throw error;
      return this.#bootstrap(bootstrapKubeconfig, error);
    }
  }

  /** The bootstrap kubeconfig; undefined if none can be loaded. */
  async loadBootstrap(): Promise<ClusterAccess | undefined> {
    const { bootstrapKubeconfig } = this.#options.config;
    if (bootstrapKubeconfig === undefined) return undefined;
    return loadKubeconfig(bootstrapKubeconfig).catch(() => undefined);
  }

  /**
   * The credential of the bootstrap kubeconfig for the cluster of the kubeconfig. Undefined if none is
   * configured.
   * @throws AgentError KUBECONFIG_*
   */
  async bootstrapFor(cluster: ClusterEndpoint): Promise<ClusterAccess | undefined> {
    const { bootstrapKubeconfig } = this.#options.config;
    if (bootstrapKubeconfig === undefined) return undefined;
    const access = await loadKubeconfig(bootstrapKubeconfig);
    return { ...access, cluster };
  }

  /** The cluster that a file of the node names; undefined on a new node. */
  async knownCluster(): Promise<ClusterEndpoint | undefined> {
    const access = await this.#loadCluster();
    access?.[Symbol.dispose]();
    return access?.cluster;
  }

  /** The pair of this agent for another cluster than that of the kubeconfig; undefined without a valid pair. */
  async ownFor({ path, cluster }: ClusterAccess): Promise<ClusterAccess | undefined> {
    const identity = await this.#ownIdentity();
    return identity && accessWith(identity, { path, cluster });
  }

  /**
   * A successful bootstrap writes the kubeconfig. If nodecertd may not replace the file at that
   * path, this fails before the bootstrap uses the token and creates a CSR.
   * @throws AgentError KUBECONFIG_INVALID, after disposing the credential
   */
  async requireReplaceable(bootstrap: ClusterAccess): Promise<void> {
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

  async #ownIdentity(): Promise<StoredIdentity | undefined> {
    const { clientPair, clock } = this.#options;
    return clientPair === undefined ? undefined : storedIdentity(clientPair, clock.now());
  }

  async #loadOwn(isRejected: boolean): Promise<ClusterAccess | undefined> {
    const { clientPair, config, report } = this.#options;
    const identity = await this.#ownIdentity();
    if (clientPair === undefined || identity === undefined) return undefined;
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
    if (!named && isRejected) {
      identity.certificate.key.wipe();
      return undefined;
    }
    // Impersonation applies only if the user entry names this pair.
    const { impersonation } = named ? access.credential : {};
    return accessWith(identity, access, impersonation);
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

  async #bootstrap(path: string, unusable: unknown): Promise<ChosenCredential> {
    const access = await loadKubeconfig(path).catch((error: unknown) => {
      if (!hasCode(error, 'KUBECONFIG_MISSING')) throw error;
      // The discovery replaces the bootstrap kubeconfig.
      if (this.#options.config.bootstrap.discovery !== undefined) throw unusable;
      // Both are missing or unusable: the error names both files.
      const message = `${error.message}; ${describeError(unusable)}`;
      throw error.withMessage(message);
    });
    await this.requireReplaceable(access);
    return { access, source: 'bootstrap', isOwn: false };
  }
}

function accessWith(
  { certificate }: StoredIdentity,
  { path, cluster }: { readonly path: string; readonly cluster: ClusterEndpoint },
  impersonation?: ClusterAccess['credential']['impersonation'],
): ClusterAccess {
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
