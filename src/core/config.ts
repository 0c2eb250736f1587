import type { CertificateSpec } from './certificate-spec.ts';
import type { LogLevel } from './log-events.ts';

/** The configuration with every default filled in and every path absolute. */
export interface AgentConfig {
  /** The file it was read from. The agent watches it and checks its permissions. */
  readonly file?: string;
  readonly nodeName: string;
  /**
   * The host name, if it is no more than a placeholder such as localhost and certificates
   * need a node name, which is not configured. The agent requests nothing until it changes.
   */
  readonly placeholderHostName?: string;
  /** Written by the agent once it has a client certificate; preferred to the bootstrap kubeconfig while valid. */
  readonly kubeconfig: string;
  readonly bootstrapKubeconfig?: string;
  readonly certificateDirectory: string;
  /** Holds state.json: unfinished requests and the address of the running agent, nothing secret. */
  readonly stateDirectory: string;
  readonly certificates: readonly CertificateSpec[];
  readonly store: StoreConfig;
  /**
   * Seconds between two reads of the Node's addresses while no network interface changes. 0
   * watches the Node all the time, which takes an enroller process that never ends.
   */
  readonly addressRefreshSeconds: number;
  readonly kubelet: KubeletConfig;
  readonly metrics: MetricsConfig;
  readonly log: { readonly level: LogLevel; readonly format: 'json' | 'text' };
}

export interface StoreConfig {
  /** Previous pairs that are kept. */
  readonly previousPairs: number;
  /** `-current.pem` names its target without the directory, so that the link works in a mounted view. */
  readonly relativeLinks: boolean;
  /** Allow a certificate directory on a tmpfs, which loses its pairs at reboot. */
  readonly acceptVolatileDirectory: boolean;
}

/** The files of this node's kubelet. They show whether it rotates the same certificates. */
export interface KubeletConfig {
  readonly configFile: string;
  /** The kubelet's --config-dir; its drop-ins override the file. */
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
