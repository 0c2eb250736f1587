import type { CertificateSpec } from './certificate-spec.ts';
import type { LogLevel } from './log-events.ts';

/** What the agent is told to do, with every default filled in and every path absolute. */
export interface AgentConfig {
  /** The file it came from, absolute: for whoever watches it, or asks who may change it. */
  readonly file?: string;
  readonly nodeName: string;
  /**
   * The host name, if it is no more than a placeholder such as localhost and certificates
   * need a node name, which is not configured. The agent requests nothing until it changes.
   */
  readonly placeholderHostName?: string;
  /** Written by the agent once it has a client certificate; used instead of the bootstrap one while valid. */
  readonly kubeconfig: string;
  readonly bootstrapKubeconfig?: string;
  readonly certificateDirectory: string;
  /** Holds state.json: requests outstanding and where a running agent is found; nothing secret. */
  readonly stateDirectory: string;
  readonly certificates: readonly CertificateSpec[];
  readonly store: StoreConfig;
  /**
   * Seconds between two looks at the Node's addresses while nothing suggests that
   * they changed; 0 watches the Node all the time, at the price of an enroller
   * process that never ends.
   */
  readonly addressRefreshSeconds: number;
  readonly kubelet: KubeletConfig;
  readonly metrics: MetricsConfig;
  readonly log: { readonly level: LogLevel; readonly format: 'json' | 'text' };
}

export interface StoreConfig {
  /** Pairs kept besides the current one. */
  readonly previousPairs: number;
  /** `-current.pem` names its target without the directory, so that it holds in a mounted view. */
  readonly relativeLinks: boolean;
  /** Allow a certificate directory on a tmpfs, whose pairs vanish at reboot. */
  readonly acceptVolatileDirectory: boolean;
}

/** Where the kubelet of this node has its configuration: it is read, to see whether it rotates the same certificates. */
export interface KubeletConfig {
  readonly configFile: string;
  /** The kubelet's --config-dir, whose drop-ins are laid over the file. */
  readonly configDirectory?: string;
  /** The kubelet's --cert-dir. */
  readonly certificateDirectory: string;
  /** Only observe the certificates that a kubelet rotates itself in this directory. */
  readonly deferToKubelet: boolean;
}

export interface MetricsConfig {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Export the five metric names of the kubelet's own manager too. */
  readonly kubeletNames: boolean;
}
