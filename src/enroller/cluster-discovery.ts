import type { BootstrapToken } from '../core/bootstrap-token.ts';
import type { CaPin } from '../core/ca-pin.ts';
import type { DiscoveryConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import type { HostPort } from '../core/host-port.ts';
import { second } from '../core/instant.ts';
import { encodeCertificates } from '../core/pem.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { readTokenFile } from '../kube/token-file.ts';
import type { Clock } from '../sys/clock.ts';

/** What an agent passes to a discovery. */
interface DiscoveryRequest {
  readonly endpoints: readonly HostPort[];
  readonly token: BootstrapToken;
  readonly pins: readonly CaPin[];
  readonly onlyPinned: boolean;
  readonly timeoutMs: number;
}

interface DiscoveryContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly version: string;
  readonly progress: (line: string) => void;
}

interface DiscoveredCluster {
  readonly server: string;
  readonly authorities: readonly {
    readonly der: Uint8Array<ArrayBuffer>;
    readonly subject: string;
    readonly pin: CaPin;
    readonly isPinned: boolean;
  }[];
  readonly warnings: readonly string[];
}

/**
 * Finds the cluster with a bootstrap token and verifies it by the pins of its CAs. The caller passes
 * it in, because the enroller's layer must not import the discovery.
 */
export type DiscoverCluster = (
  request: DiscoveryRequest,
  context: DiscoveryContext,
) => Promise<DiscoveredCluster>;

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
