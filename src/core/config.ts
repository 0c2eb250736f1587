import type { CaPin } from './ca-pin.ts';
import type { CertificateSpec } from './certificate-spec.ts';
import type { HookSpec } from './hooks.ts';
import type { HostPort } from './host-port.ts';
import type { LogLevel } from './log-events.ts';
import type { RotationWindow } from './schedule.ts';

/** The configuration with every default filled in and every path absolute. */
export interface AgentConfig {
  /** The configuration file. The agent watches the file and checks its permissions. */
  readonly file?: string;
  readonly nodeName: string;
  /**
   * The host name, if it is a placeholder such as localhost and no node name is configured
   * although certificates need one. The agent requests no certificate until the host name
   * changes.
   */
  readonly placeholderHostName?: string;
  /**
   * The agent writes this file once it has a client certificate, and prefers it to the bootstrap
   * kubeconfig while its credential is valid.
   */
  readonly kubeconfig: string;
  readonly bootstrapKubeconfig?: string;
  readonly bootstrap: BootstrapConfig;
  readonly certificateDirectory: string;
  /**
   * Contains state.json: unfinished CSRs, pending hooks and the address of the running agent, but
   * no secrets.
   */
  readonly stateDirectory: string;
  readonly certificates: readonly CertificateSpec[];
  readonly store: StoreConfig;
  /**
   * Seconds between two reads of the Node's addresses while no network interface changes. 0
   * watches the Node continuously, which keeps an enroller process running.
   */
  readonly addressRefreshSeconds: number;
  readonly kubelet: KubeletConfig;
  readonly metrics: MetricsConfig;
  readonly inventory: InventoryConfig;
  /** Absent while `pki.enabled` is false. */
  readonly pki?: PkiConfig;
  /** Absent while `trust.enabled` is false. */
  readonly trust?: TrustConfig;
  readonly log: { readonly level: LogLevel; readonly format: 'json' | 'text' };
}

export interface BootstrapConfig {
  /** Absent if the agent may not look for the cluster itself. */
  readonly discovery?: DiscoveryConfig;
  /** Remove the bootstrap kubeconfig and the token file once the node has its client certificate. */
  readonly deleteAfterUse: boolean;
}

/** How the agent finds its cluster while it has no usable trust. */
export interface DiscoveryConfig {
  /** API servers, tried in turn. At least one. */
  readonly endpoints: readonly HostPort[];
  /** The file with the bootstrap token, read again for each attempt. */
  readonly tokenFile: string;
  /** At least one. */
  readonly pins: readonly CaPin[];
}

export interface StoreConfig {
  /** The number of previous key pairs to keep. */
  readonly previousPairs: number;
  /**
   * Make `-current.pem` a relative link, so that it also works where the directory is mounted at
   * another path.
   */
  readonly relativeLinks: boolean;
  /** Allow a certificate directory on a tmpfs, which loses its key pairs at reboot. */
  readonly acceptVolatileDirectory: boolean;
}

/**
 * The files of this node's kubelet. They show whether the kubelet rotates the same certificates.
 */
export interface KubeletConfig {
  readonly configFile: string;
  /** The kubelet's --config-dir; its drop-ins override `configFile`. */
  readonly configDirectory?: string;
  /** The kubelet's --cert-dir. */
  readonly certificateDirectory: string;
  /** Only observe certificates that the kubelet rotates in this directory. */
  readonly deferToKubelet: boolean;
}

export interface MetricsConfig {
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** Also export five metrics under the kubelet's names. */
  readonly kubeletNames: boolean;
}

/** The inventory of `certs check-expiration` on /metrics. */
export interface InventoryConfig {
  readonly enabled: boolean;
  /** Seconds between two scans. */
  readonly intervalSeconds: number;
  /** Paths and glob patterns of further files, all absolute. */
  readonly paths: readonly string[];
}

/** The renewal of control-plane certificates by `certs renew --unattended`. */
export interface PkiConfig {
  /** The directory of the kubeconfigs, the manifests and `pki/`. */
  readonly directory: string;
  readonly rotationWindow: RotationWindow;
  /** The text for maintenance-window.ts, such as `Sun 02:00-04:00`. */
  readonly maintenanceWindow?: string;
  /** Hooks that run in this order after a renewal. */
  readonly hooks: readonly HookSpec[];
}

/** The CAs that this node trusts, and what happens when the cluster gets another CA. */
export interface TrustConfig {
  /** A PEM file with the CAs of the cluster. It comes before the cluster's own objects. */
  readonly file?: string;
  /** If there are any, a new CA is accepted only with one of these pins. */
  readonly pins: readonly CaPin[];
  /** Further kubeconfigs and PEM files in which the CAs are kept. */
  readonly kubeconfigs: readonly string[];
  readonly files: readonly string[];
  /** Move CAs that the kubelet's kubeconfig embeds to a file, which the kubelet reloads. */
  readonly externalize: boolean;
  /** What makes a kubelet use new CAs that it does not reload. */
  readonly kubelet: 'restart' | 'hook' | 'none';
  /** Nodes spread their restarts over this time. */
  readonly spreadSeconds: number;
  /** The fingerprint of the CA that must have issued the certificates. By default it is found. */
  readonly issuer?: string;
  /** Nodes spread the requests for certificates from the new CA over this time. */
  readonly reissueSpreadSeconds: number;
  /** Do not request a serving certificate from the new CA yet. */
  readonly holdServing: boolean;
  readonly drop: 'manual' | 'auto';
  /** The source must lack a CA for so long, without a break, before the CA can be dropped. */
  readonly dropAfterSeconds: number;
  /** Hooks that run in this order after a change. */
  readonly hooks: readonly HookSpec[];
}
