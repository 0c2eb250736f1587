import type { Secret } from '../core/secret.ts';

/**
 * How to reach one API server, and as whom: a kubeconfig's current context with
 * everything it refers to loaded. Disposing it wipes key and token.
 */
export interface ClusterAccess extends Disposable {
  /** The kubeconfig, for messages. */
  readonly path: string;
  readonly cluster: ClusterEndpoint;
  readonly credential: Credential;
}

/** The fields as they stand in the file, so that a kubeconfig for another user can repeat them. */
export interface ClusterEndpoint {
  readonly server: string;
  /** Absent: the certificate authorities of the system are trusted. */
  readonly certificateAuthority?: CertificateAuthority;
  readonly tlsServerName?: string;
  /** May hold a password: show its origin only. */
  readonly proxyUrl?: string;
  readonly insecureSkipTlsVerify: boolean;
}

export interface CertificateAuthority {
  readonly pem: Uint8Array<ArrayBuffer>;
  /** Absolute; absent when the kubeconfig holds the data itself. */
  readonly file?: string;
}

export interface Credential {
  readonly token?: Secret;
  /** Absolute; what it holds takes the place of `token`. */
  readonly tokenFile?: string;
  readonly clientCertificate?: ClientCertificate;
  /** Run for a credential when there is no other; client-go has the same precedence. */
  readonly plugin?: ExecPlugin;
  readonly impersonation?: Impersonation;
}

/** The program that `exec` of a kubeconfig user names. */
export interface ExecPlugin {
  readonly apiVersion: string;
  /** For messages. */
  readonly name: string;
  /** An absolute path, or a name to look up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** The variables of the kubeconfig, behind a function because their values may be secret. */
  readonly environment: () => Readonly<Record<string, string>>;
  readonly installHint?: string;
  readonly provideClusterInfo: boolean;
  /** What the cluster entry holds for plugins in its extension client.authentication.k8s.io/exec. */
  readonly clusterConfig?: unknown;
}

/** The identity that requests ask to act as; the credential needs the right to impersonate it. */
export interface Impersonation {
  readonly user: string;
  /** Empty: none. */
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[] | null>>;
}

export interface ClientCertificate {
  /** The CERTIFICATE blocks alone, even when the file holds the key too. */
  readonly pem: Uint8Array<ArrayBuffer>;
  readonly key: Secret;
}
