import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError, describeError, hasCode } from '../core/errors.ts';
import { discoverRemedy } from '../core/remedies.ts';
import { whoAmI } from '../kube/access-review.ts';
import type { ClusterAccess, ClusterEndpoint } from '../kube/cluster-access.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { ClusterDiscovery } from './cluster-discovery.ts';
import type {
  ChosenCredential,
  CredentialFiles,
  CredentialFilesOptions,
} from './credential-files.ts';

export interface TrustSearchOptions extends Pick<CredentialFilesOptions, 'config'> {
  readonly files: CredentialFiles;
  readonly discovery: Pick<ClusterDiscovery, 'access'>;
  /** Disposes the credential if it fails. */
  readonly open: (access: ClusterAccess) => Promise<KubeClient>;
  readonly report: (notice: EnrollerNotice) => void;
  readonly keepTrust?: (cluster: ClusterEndpoint) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface OpenCredential extends Omit<ChosenCredential, 'access'> {
  readonly client: KubeClient;
}

/**
 * Chooses a credential for a node with `bootstrap.discovery`. The files of the node come first. The
 * discovery follows only if they contain no usable credential, or if the API server shows a
 * certificate that they cannot verify. A machine in the middle can cause a discovery, but gains
 * nothing: the discovery accepts only a cluster with a pinned CA. An API server that does not
 * answer causes none.
 */
export class TrustSearch {
  readonly #options: TrustSearchOptions;
  #lost: AgentError | undefined;

  constructor(options: TrustSearchOptions) {
    this.#options = options;
  }

  /** The API server could not be verified in the last search, and nothing verified it instead. */
  get lost(): AgentError | undefined {
    return this.#lost;
  }

  /** @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED, CLUSTER_UNTRUSTED, TOKEN_REJECTED, API_* */
  async choose(rejected: { readonly isOwnRejected: boolean }): Promise<OpenCredential> {
    const chosen = await this.#fromFiles(rejected);
    this.#lost = hasCode(chosen, 'API_UNTRUSTED') ? chosen : undefined;
    if (!(chosen instanceof AgentError)) return chosen;
    const access = (await this.#verifiedBootstrap()) ?? (await this.#discover(chosen));
    const credential = (await this.#acceptedOwn(access)) ?? (await this.#bootstrapWith(access));
    this.#lost = undefined;
    return credential;
  }

  /** The error if the files contain no usable credential, or cannot verify the API server. */
  async #fromFiles(rejected: {
    readonly isOwnRejected: boolean;
  }): Promise<OpenCredential | AgentError> {
    const { files, open } = this.#options;
    try {
      const { access, ...chosen } = await files.load(rejected);
      const client = await open(access);
      const problem = await this.#verify(client);
      if (!hasCode(problem, 'API_UNTRUSTED')) return { ...chosen, client };
      await close(client);
      return problem;
    } catch (error) {
      if (hasCode(error, ...unusable)) return error;
      throw error;
    }
  }

  /** Why the client cannot verify the API server, or gets no answer; undefined if it can. */
  async #verify(client: KubeClient): Promise<unknown> {
    try {
      // Every answer, even an error, proves that TLS was verified.
      await client.text({ path: '/version', signal: this.#options.signal });
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** An administrator may have written a bootstrap kubeconfig with the new CA. */
  async #verifiedBootstrap(): Promise<ClusterAccess | undefined> {
    const { files, open } = this.#options;
    // Without a verification error, the bootstrap kubeconfig is missing or unusable.
    const access = this.#lost === undefined ? undefined : await files.loadBootstrap();
    if (access === undefined) return undefined;
    await using client = await open(access);
    if ((await this.#verify(client)) === undefined) return access;
    access[Symbol.dispose]();
    return undefined;
  }

  async #bootstrapWith(access: ClusterAccess): Promise<OpenCredential> {
    const { files, open } = this.#options;
    await files.requireReplaceable(access);
    return { client: await open(access), source: 'bootstrap', isOwn: false };
  }

  async #discover(reason: AgentError): Promise<ClusterAccess> {
    const { discovery, signal, config } = this.#options;
    try {
      return await discovery.access(signal);
    } catch (error) {
      // On a new node, the missing kubeconfig is no news.
      if (hasCode(reason, 'KUBECONFIG_MISSING') || !(error instanceof AgentError)) throw error;
      const remedy = needsPerson.has(error.code) ? discoverRemedy(config) : error.remedy;
      throw new AgentError(error.code, `${describeError(reason)}; ${error.message}`, {
        cause: error.cause,
        ...(remedy !== undefined && { remedy }),
        ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
      });
    }
  }

  /**
   * The valid pair of this agent, if the cluster accepts it. During a CA rollover, API servers
   * accept clients of the old CA for longer than they serve a certificate of it.
   */
  async #acceptedOwn(found: ClusterAccess): Promise<OpenCredential | undefined> {
    const { files, open, signal, keepTrust, report } = this.#options;
    const own = await files.ownFor(found);
    if (own === undefined) return undefined;
    const client = await open(own);
    try {
      await whoAmI(client, signal);
    } catch (error) {
      await close(client);
      if (!hasCode(error, 'API_UNAUTHORIZED')) {
        found[Symbol.dispose]();
        throw error;
      }
      report({ type: 'identity-refused', error: describeError(error) });
      return undefined;
    }
    found[Symbol.dispose]();
    await keepTrust?.(found.cluster);
    return { client, source: 'kubeconfig', isOwn: true };
  }
}

/** The files contain no usable credential. */
const unusable = [
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
  'KUBECONFIG_UNSUPPORTED',
  'CREDENTIAL_EXPIRED',
  'CERT_NOT_YET_VALID',
] as const;

/** Nothing but another token or another hash helps. */
const needsPerson: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
]);

async function close(client: KubeClient): Promise<void> {
  await client.close();
  client.access[Symbol.dispose]();
}
