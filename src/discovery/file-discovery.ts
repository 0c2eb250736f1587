import type { BootstrapToken } from '../core/bootstrap-token.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import type { HostPort } from '../core/host-port.ts';
import { formatHostPort } from '../core/host-port.ts';
import { encodeCertificates, parsePem } from '../core/pem.ts';
import { whoAmI } from '../kube/access-review.ts';
import type { ClusterAccess, ClusterEndpoint, Credential } from '../kube/cluster-access.ts';
import { Deadline } from '../kube/deadline.ts';
import { KubeClient } from '../kube/rest-client.ts';
import type { BootstrapCredential } from '../store/kubeconfig-text.ts';
import { discoveredAuthority } from './authority.ts';
import { clusterInfoRequest, parseClusterInfo } from './cluster-info.ts';
import type { ClusterKubeconfig } from './cluster-kubeconfig.ts';
import { readClusterKubeconfig } from './cluster-kubeconfig.ts';
import { clientLimits, longestClusterInfo } from './connection.ts';
import type { FileOptions } from './discovery-file.ts';
import { readDiscoveryFile } from './discovery-file.ts';
import type { DiscoveredAuthority, DiscoveredBootstrap, DiscoveryContext } from './discovery.ts';
import { fileCredential, readFileKubeconfig } from './file-kubeconfig.ts';
import { repeatUntil } from './repeat.ts';

export interface FileDiscoveryRequest extends FileOptions {
  /** Replaces the token or the client certificate of the file. */
  readonly token?: BootstrapToken;
  /** Replaces the server of the file. */
  readonly server?: HostPort;
  readonly timeoutMs: number;
}

/**
 * Takes the server and the CA from a kubeconfig that an administrator trusts, as kubeadm does with
 * `--discovery-file`. A connection to the server must be verified by this CA. cluster-info only
 * adds a missing CA; then the CAs of the system verify that connection.
 * @throws AgentError KUBECONFIG_*, CLUSTER_UNTRUSTED, TOKEN_REJECTED, API_*; ABORTED
 */
export async function discoverFromFile(
  request: FileDiscoveryRequest,
  context: DiscoveryContext,
): Promise<DiscoveredBootstrap> {
  const { clock, signal } = context;
  const { source, token, timeoutMs } = request;
  using deadline = new Deadline({ clock, ms: timeoutMs, signal, what: 'discovery' });
  const limited = { ...context, signal: deadline.signal };
  const repeat = <T>(run: () => Promise<T>): Promise<T> => repeatUntil(run, limited, timeoutMs);
  const file = await repeat(() => readDiscoveryFile(request, limited));
  const kubeconfig = await readFileKubeconfig(file, source.kind === 'file');
  const isGiven = token !== undefined;
  const credential: BootstrapCredential = isGiven
    ? { kind: 'token', token: token.text }
    : await fileCredential(kubeconfig);
  const dispose = (): void => {
    if (!isGiven) secretOf(credential).wipe();
  };
  try {
    const check = new FileCheck(
      { file: file.name, ...endpointOf(request, kubeconfig.cluster) },
      limited,
    );
    const { authorities, warnings } = await repeat(() => check.authorities());
    await repeat(() => check.authenticate(authorities, credential));
    const { server, tlsServerName, proxyUrl } = check.endpoint;
    const replaced = isGiven && kubeconfig.userAt !== undefined;
    return {
      cluster: {
        server,
        authorities,
        verifiedBy: 'file',
        warnings: [
          ...(replaced ? [`the user in ${file.name} is ignored, because a token was given`] : []),
          ...warnings,
        ],
      },
      credential,
      ...(tlsServerName !== undefined && { tlsServerName }),
      ...(proxyUrl !== undefined && { proxyUrl }),
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

function secretOf(credential: BootstrapCredential) {
  return credential.kind === 'token' ? credential.token : credential.key;
}

function endpointOf(
  { server, proxyUrl }: FileDiscoveryRequest,
  cluster: ClusterEndpoint,
): { readonly endpoint: ClusterEndpoint } {
  return {
    endpoint: {
      ...cluster,
      ignoresProxyVariables: true,
      ...(server !== undefined && { server: `https://${formatHostPort(server)}` }),
      ...(proxyUrl !== undefined && { proxyUrl }),
    },
  };
}

interface FoundAuthorities {
  readonly authorities: readonly DiscoveredAuthority[];
  readonly warnings: readonly string[];
}

/** The connections that check what the file says. */
class FileCheck {
  readonly endpoint: ClusterEndpoint;
  readonly #file: string;
  readonly #context: DiscoveryContext;

  constructor(
    { file, endpoint }: { readonly file: string; readonly endpoint: ClusterEndpoint },
    context: DiscoveryContext,
  ) {
    this.endpoint = endpoint;
    this.#file = file;
    this.#context = context;
  }

  /**
   * Reads cluster-info over a connection that the CA of the file, or the system, verifies. As in
   * kubeadm, a cluster that does not let anonymous users read it is fine.
   */
  async authorities(): Promise<FoundAuthorities> {
    const { certificateAuthority, server } = this.endpoint;
    const own = certificateAuthority && this.#authoritiesIn(certificateAuthority.pem);
    const info = await this.#clusterInfo();
    if (own !== undefined) {
      return {
        authorities: own,
        warnings: typeof info === 'string' ? [info] : differences(info, { server, own }),
      };
    }
    if (typeof info === 'string') throw this.#noAuthority(info);
    const authorities = info.certificates.flatMap((der) => discoveredAuthority(der, []) ?? []);
    if (authorities.length === 0) throw this.#noAuthority('cluster-info has no CA');
    return {
      authorities,
      warnings: [
        `${this.#file} has no CA, so nodecertd trusts the CAs in cluster-info; the CAs of this system verified the server that sent it`,
        ...differences(info, { server, own: authorities }),
      ],
    };
  }

  /** @throws AgentError TOKEN_REJECTED, API_* */
  async authenticate(
    authorities: readonly DiscoveredAuthority[],
    credential: BootstrapCredential,
  ): Promise<void> {
    const endpoint = {
      ...this.endpoint,
      certificateAuthority: { pem: encodeCertificates(authorities) },
    };
    await using client = await this.#open(endpoint, credentialOf(credential));
    try {
      await whoAmI(client, this.#context.signal);
    } catch (error) {
      if (!hasCode(error, 'API_UNAUTHORIZED')) throw error;
      const what = credential.kind === 'token' ? 'token' : 'client certificate';
      throw new AgentError(
        'TOKEN_REJECTED',
        `the ${what} does not authenticate at ${this.endpoint.server}: it has expired or belongs to another cluster`,
        {
          remedy:
            'Create a bootstrap token on a control-plane node, and add --token-file FILE: kubeadm token create',
        },
      );
    }
  }

  /** Why cluster-info cannot be read, or the cluster in it. */
  async #clusterInfo(): Promise<ClusterKubeconfig | string> {
    await using client = await this.#open(this.endpoint, {});
    const { status, text } = await client.text({
      path: clusterInfoRequest,
      signal: this.#context.signal,
    });
    if (status === 429 || status >= 500) {
      throw new AgentError('API_SERVER_ERROR', `get cluster-info: HTTP status ${status}`);
    }
    const info = status === 200 ? parseClusterInfo(Buffer.from(text)) : undefined;
    const reason = status === 200 ? 'the response is not a ConfigMap' : `HTTP status ${status}`;
    if (info === undefined) {
      return `cluster-info cannot be read (${reason}), so the file was not compared with it`;
    }
    try {
      return readClusterKubeconfig(info.kubeconfig);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      return `cluster-info cannot be used: ${error.message}`;
    }
  }

  #authoritiesIn(pem: Uint8Array): DiscoveredAuthority[] {
    const certificates = parsePem(pem).filter(({ label }) => label === 'CERTIFICATE');
    return certificates.map(({ der }, index) => {
      const authority = discoveredAuthority(der, []);
      if (authority !== undefined) return authority;
      throw new AgentError(
        'KUBECONFIG_INVALID',
        `${this.#file}: certificate ${index + 1} of ${certificates.length} of its certificate authority is not a CA`,
        { remedy: `Put the CA of the cluster into certificate-authority-data of ${this.#file}` },
      );
    });
  }

  #noAuthority(reason: string): AgentError {
    return new AgentError('KUBECONFIG_INVALID', `${this.#file} has no CA, and ${reason}`, {
      remedy: `Put the CA of the cluster into certificate-authority-data of ${this.#file}`,
    });
  }

  async #open(cluster: ClusterEndpoint, credential: Credential): Promise<KubeClient> {
    const { clock, version } = this.#context;
    const access: ClusterAccess = {
      path: this.#file,
      cluster,
      credential,
      [Symbol.dispose]: () => undefined, // The caller owns the credential.
    };
    const limits = { ...clientLimits, bodyBytes: longestClusterInfo };
    return KubeClient.open({ access, version, clock, limits });
  }
}

/** A view of the credential for a client, which wipes nothing. */
export function credentialOf(credential: BootstrapCredential): Credential {
  if (credential.kind === 'token') return { token: credential.token };
  return { clientCertificate: { pem: Uint8Array.from(credential.pem), key: credential.key } };
}

function differences(
  info: ClusterKubeconfig,
  { server, own }: { readonly server: string; readonly own: readonly DiscoveredAuthority[] },
): string[] {
  const known = new Set(own.map(({ fingerprint }) => fingerprint));
  const others = info.certificates
    .flatMap((der) => discoveredAuthority(der, []) ?? [])
    .filter(({ fingerprint }) => !known.has(fingerprint))
    .map(({ subject, pin }) => `cluster-info has a CA that the file lacks: ${subject}, ${pin}`);
  return info.server === server
    ? others
    : [`cluster-info names another server: ${info.server}`, ...others];
}
