import type { DiscoveryConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import { second } from '../core/instant.ts';
import { encodeCertificates } from '../core/pem.ts';
import type { discoverCluster } from '../discovery/discover-cluster.ts';
import type { DiscoveredCluster } from '../discovery/discovery.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { readTokenFile } from '../kube/token-file.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * Finds the cluster with a bootstrap token and verifies it by the pins of its CAs. The caller passes
 * it in, so that a node which needs no discovery does not load it.
 */
export type DiscoverCluster = typeof discoverCluster;

export interface ClusterDiscoveryOptions {
  readonly config: DiscoveryConfig;
  readonly discover: DiscoverCluster;
  readonly version: string;
  readonly clock: Clock;
  readonly report: (notice: EnrollerNotice) => void;
}

/** Finds the cluster by `bootstrap.discovery`. The result stays in memory. */
export class ClusterDiscovery {
  readonly #options: ClusterDiscoveryOptions;

  constructor(options: ClusterDiscoveryOptions) {
    this.#options = options;
  }

  /**
   * The cluster, and the token as its credential. Reads the token file each time, because it may
   * contain a new token.
   * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID for the token file;
   * CLUSTER_UNTRUSTED, TOKEN_REJECTED, API_*
   */
  async access(signal: AbortSignal): Promise<ClusterAccess> {
    const { config, discover, clock, version, report } = this.#options;
    const { endpoints, tokenFile, pins } = config;
    const token = await readTokenFile(tokenFile);
    try {
      const found = await discover(
        { endpoints, token, pins, onlyPinned: false, timeoutMs },
        { clock, version, signal, progress: (line) => report({ type: 'discovery', line }) },
      );
      this.#reportFound(found);
      return {
        path: tokenFile,
        cluster: {
          server: found.server,
          certificateAuthority: { pem: encodeCertificates(found.authorities) },
          insecureSkipTlsVerify: false,
        },
        credential: { token: token.text },
        [Symbol.dispose]: () => token[Symbol.dispose](),
      };
    } catch (error) {
      token[Symbol.dispose]();
      throw error;
    }
  }

  #reportFound({ server, authorities, warnings }: DiscoveredCluster): void {
    this.#options.report({
      type: 'discovered',
      server,
      authorities: authorities.map(({ subject, pin, isPinned }) => ({ subject, pin, isPinned })),
      warnings,
    });
  }
}

/** The keeper repeats a failed attempt, with growing delays and a line in the log for each. */
const timeoutMs = 30 * second;
