import type { BootstrapToken } from '../core/bootstrap-token.ts';
import type { CaPin } from '../core/ca-pin.ts';
import type { HostPort } from '../core/host-port.ts';
import type { Instant } from '../core/instant.ts';
import type { BootstrapCredential } from '../store/kubeconfig-text.ts';
import type { Clock } from '../sys/clock.ts';

/** What a machine knows about a cluster before it trusts the cluster. */
export interface DiscoveryRequest {
  /** API servers of the cluster, tried in turn. */
  readonly endpoints: readonly HostPort[];
  readonly token: BootstrapToken;
  /** Empty only if the CA is not verified. */
  readonly pins: readonly CaPin[];
  /** Replaces the server that cluster-info names. */
  readonly server?: HostPort;
  /** Trust only pinned CAs, not the other CAs of the cluster. */
  readonly onlyPinned: boolean;
  /** Without it, connections use no proxy: the environment is ignored. */
  readonly proxyUrl?: string;
  readonly timeoutMs: number;
}

export interface DiscoveryContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The version of this program, for the User-Agent. */
  readonly version: string;
  /** Gets a line of progress, such as the reason why an attempt is repeated. */
  readonly progress: (line: string) => void;
}

/** What a machine needs to trust a cluster. */
export interface DiscoveredCluster {
  /** The URL of the API server. */
  readonly server: string;
  /** At least one, in the order of the bundle. */
  readonly authorities: readonly DiscoveredAuthority[];
  /** `token` if nothing but the signature of cluster-info proves that this is the right cluster. */
  readonly verifiedBy: 'pin' | 'token' | 'file';
  /** Other facts that an administrator should know, one sentence each. */
  readonly warnings: readonly string[];
}

export interface DiscoveredAuthority {
  readonly der: Uint8Array<ArrayBuffer>;
  readonly subject: string;
  readonly notAfter: Instant;
  readonly pin: CaPin;
  /** The SHA-256 hash of the certificate, in lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly isPinned: boolean;
}

/** What a node needs for its bootstrap. Disposal wipes a secret that the discovery has read. */
export interface DiscoveredBootstrap extends Disposable {
  readonly cluster: DiscoveredCluster;
  readonly credential: BootstrapCredential;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
}
