import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError, describeError, hasCode } from '../core/errors.ts';
import type { PemBlock } from '../core/pem.ts';
import { encodeCertificates, parsePem } from '../core/pem.ts';
import { discoverRemedy } from '../core/remedies.ts';
import type { TrustAuthority } from '../core/trust.ts';
import { authorityName } from '../core/trust.ts';
import { whoAmI } from '../kube/access-review.ts';
import { readAuthorities } from '../kube/authorities.ts';
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
  /** Undefined without `bootstrap.discovery`. */
  readonly discovery?: Pick<ClusterDiscovery, 'access'> | undefined;
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
 * discovery follows only if they contain no usable credential, if the API server rejects the token
 * of the bootstrap kubeconfig, or if it shows a certificate that the files cannot verify. A machine
 * in the middle can cause a discovery, but gains nothing: the discovery accepts only a cluster with
 * a pinned CA. An API server that does not answer causes none.
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
    const bootstrap = this.#lost && (await this.#verifiedBootstrap());
    const credential = await this.#credentialFor(bootstrap ?? (await this.#discover(chosen)));
    this.#lost = undefined;
    return credential;
  }

  /**
   * For a node without `bootstrap.discovery` whose kubeconfig cannot verify the API server. Keeps the
   * CAs of the kubeconfig beside the new ones: the kubelet may accept clients of both. Undefined if
   * the bootstrap kubeconfig has no other CAs, or cannot verify the API server either.
   * @throws AgentError KUBECONFIG_*, API_*; API_UNTRUSTED for a CA that trust.caCertHashes lacks
   */
  async fromBootstrap(): Promise<OpenCredential | undefined> {
    const { files } = this.#options;
    const known = await files.knownCluster();
    const bootstrap = await files.loadBootstrap();
    if (known === undefined || bootstrap === undefined) return undefined;
    const unpinned = this.#unpinned(bootstrap.cluster, known);
    if (unpinned !== undefined) {
      bootstrap[Symbol.dispose]();
      throw notPinned(unpinned, bootstrap.path);
    }
    const cluster = hasOtherAuthorities(bootstrap.cluster, known)
      ? await this.#united(known, bootstrap)
      : undefined;
    if (cluster !== undefined)
      return this.#credentialFor({ access: { ...bootstrap, cluster }, isNewTrust: true });
    bootstrap[Symbol.dispose]();
    return undefined;
  }

  /**
   * A CA that the kubeconfig of the node lacks, and that `trust.caCertHashes` does not allow: then an
   * attacker with the key of a CA that has leaked may have written the file.
   */
  #unpinned(found: ClusterEndpoint, known: ClusterEndpoint): TrustAuthority | undefined {
    const { pins = [] } = this.#options.config.trust ?? {};
    if (pins.length === 0) return undefined;
    const allowed = new Set([...pins, ...authoritiesOf(known).map(({ pin }) => pin)]);
    return authoritiesOf(found).find(({ pin }) => !allowed.has(pin));
  }

  /** The cluster entry of the kubeconfig, or else of the bootstrap kubeconfig, with the CAs of both. */
  async #united(
    known: ClusterEndpoint,
    { path, cluster }: ClusterAccess,
  ): Promise<ClusterEndpoint | undefined> {
    const both = [known, cluster].flatMap(certificatesOf);
    const unique = new Map(both.map((certificate) => [certificate.der.toBase64(), certificate]));
    const pem = encodeCertificates([...unique.values()]);
    const found = { path, cluster: { ...cluster, certificateAuthority: { pem } } };
    return (await this.#withFoundTrust(known, found)) ?? (await this.#verified(found));
  }

  /**
   * The token of `bootstrap.discovery` for the cluster of the kubeconfig, if a CA that the discovery
   * found verifies its API server: the token goes to no other server. Undefined without a discovery.
   * @throws AgentError as ClusterDiscovery.access; CLUSTER_UNTRUSTED
   */
  async tokenFor(known: ClusterEndpoint): Promise<ClusterAccess | undefined> {
    const { discovery, signal } = this.#options;
    const access = await discovery?.access(signal);
    if (access === undefined) return undefined;
    const cluster = await this.#withFoundTrust(known, access);
    if (cluster !== undefined) return { ...access, cluster };
    access[Symbol.dispose]();
    throw new AgentError(
      'CLUSTER_UNTRUSTED',
      `no CA that the discovery found verifies the API server at ${known.server}`,
    );
  }

  async #credentialFor(found: FoundCluster): Promise<OpenCredential> {
    try {
      return (await this.#acceptedOwn(found)) ?? (await this.#bootstrapWith(found));
    } catch (error) {
      found.access[Symbol.dispose]();
      throw error;
    }
  }

  /** The error if the files contain no usable credential, or cannot verify the API server. */
  async #fromFiles(rejected: {
    readonly isOwnRejected: boolean;
  }): Promise<OpenCredential | AgentError> {
    const { files, open } = this.#options;
    try {
      const { access, ...chosen } = await files.load(rejected);
      const client = await open(access);
      const isBootstrap = chosen.source === 'bootstrap';
      const problem = await (isBootstrap ? this.#authenticate(client) : this.#verify(client));
      const isUseless = hasCode(problem, ...(isBootstrap ? uselessToken : uselessTrust));
      if (!isUseless) return { ...chosen, client };
      await closeCredential(client);
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

  /** A bootstrap kubeconfig often stays on a node after its token has expired. */
  async #authenticate(client: KubeClient): Promise<unknown> {
    try {
      await whoAmI(client, this.#options.signal);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** An administrator may have written a bootstrap kubeconfig with the new CA. */
  async #verifiedBootstrap(): Promise<FoundCluster | undefined> {
    const { files, open } = this.#options;
    const access = await files.loadBootstrap();
    if (access === undefined) return undefined;
    const known = await files.knownCluster();
    if (known !== undefined && this.#unpinned(access.cluster, known) !== undefined) {
      access[Symbol.dispose]();
      return undefined;
    }
    await using client = await open(access);
    if ((await this.#verify(client)) === undefined) return { access, isNewTrust: true };
    access[Symbol.dispose]();
    return undefined;
  }

  async #bootstrapWith({ access }: FoundCluster): Promise<OpenCredential> {
    const { files, open } = this.#options;
    await files.requireReplaceable(access);
    return { client: await open(access), source: 'bootstrap', isOwn: false };
  }

  async #discover(reason: AgentError): Promise<FoundCluster> {
    const { discovery, signal, config, files } = this.#options;
    if (discovery === undefined) throw reason;
    try {
      const access = await discovery.access(signal);
      const known = await files.knownCluster();
      if (known === undefined) return { access, isNewTrust: true };
      const cluster = await this.#withFoundTrust(known, access);
      return cluster === undefined
        ? { access, isNewTrust: hasOtherAuthorities(access.cluster, known) }
        : { access: { ...access, cluster }, isNewTrust: true };
    } catch (error) {
      // A new node has no kubeconfig yet.
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
   * The cluster entry of the kubeconfig with the CAs that were found, if they verify its server. The
   * entry may contain a load balancer on this node, a proxy or a server name, and cluster-info does
   * not.
   */
  async #withFoundTrust(
    known: ClusterEndpoint,
    { path, cluster: { certificateAuthority } }: NamedCluster,
  ): Promise<ClusterEndpoint | undefined> {
    if (certificateAuthority === undefined) return undefined;
    const cluster = { ...known, certificateAuthority, insecureSkipTlsVerify: false };
    return this.#verified({ path, cluster });
  }

  /** The cluster if its CAs verify its server, which gets no credential. */
  async #verified({ path, cluster }: NamedCluster): Promise<ClusterEndpoint | undefined> {
    const access = { path, cluster, credential: {}, [Symbol.dispose]: () => undefined };
    await using client = await this.#options.open(access);
    return (await this.#verify(client)) === undefined ? cluster : undefined;
  }

  /**
   * The valid pair of this agent, if the cluster accepts it. During a CA rollover, API servers
   * accept clients of the old CA for longer than they serve a certificate of it.
   */
  async #acceptedOwn({ access, isNewTrust }: FoundCluster): Promise<OpenCredential | undefined> {
    const { files, open, signal, keepTrust, report } = this.#options;
    const own = await files.ownFor(access);
    if (own === undefined) return undefined;
    if (this.#lost !== undefined && !isNewTrust) {
      own[Symbol.dispose]();
      throw this.#lost;
    }
    const client = await open(own);
    try {
      await whoAmI(client, signal);
    } catch (error) {
      await closeCredential(client);
      if (!hasCode(error, 'API_UNAUTHORIZED')) throw error;
      report({ type: 'identity-refused', error: describeError(error) });
      return undefined;
    }
    access[Symbol.dispose]();
    await keepTrust?.(access.cluster);
    return { client, source: 'kubeconfig', isOwn: true };
  }
}

/** A cluster entry, and the kubeconfig that messages name. */
type NamedCluster = Pick<ClusterAccess, 'path' | 'cluster'>;

interface FoundCluster {
  readonly access: ClusterAccess;
  /**
   * False if the kubeconfig contains all CAs that were found. Then another server answers at the
   * address in the kubeconfig, and the node keeps that address while its pair is valid.
   */
  readonly isNewTrust: boolean;
}

function hasOtherAuthorities(found: ClusterEndpoint, known: ClusterEndpoint): boolean {
  const before = new Set(certificatesOf(known).map(({ der }) => der.toBase64()));
  return certificatesOf(found).some(({ der }) => !before.has(der.toBase64()));
}

function authoritiesOf({ certificateAuthority }: ClusterEndpoint): readonly TrustAuthority[] {
  return readAuthorities(certificateAuthority?.pem ?? new Uint8Array()).authorities;
}

function notPinned(authority: TrustAuthority, path: string): AgentError {
  const { pin } = authority;
  return new AgentError(
    'API_UNTRUSTED',
    `the kubeconfig of the node has no CA that verifies the API server, and the CA ${authorityName(authority)} of ${path} is not in trust.caCertHashes`,
    { remedy: `If this CA is right, add ${pin} to trust.caCertHashes; otherwise remove ${path}` },
  );
}

function certificatesOf({ certificateAuthority }: ClusterEndpoint): PemBlock[] {
  return certificateAuthority === undefined ? [] : parsePem(certificateAuthority.pem);
}

const uselessTrust = ['API_UNTRUSTED'] as const;
const uselessToken = ['API_UNTRUSTED', 'API_UNAUTHORIZED'] as const;

/** The files contain no usable credential. */
const unusable = [
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
  'KUBECONFIG_UNSUPPORTED',
  'CREDENTIAL_EXPIRED',
  'CERT_NOT_YET_VALID',
] as const;

/** Only another token or another hash helps. */
const needsPerson: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
  'KUBECONFIG_MISSING',
  'KUBECONFIG_INVALID',
]);

/** Wipes the credential, too. */
export async function closeCredential(client: KubeClient): Promise<void> {
  await client.close();
  client.access[Symbol.dispose]();
}
