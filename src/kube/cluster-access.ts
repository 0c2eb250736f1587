import type { Secret } from '../core/secret.ts';

/**
 * The address of one API server and the credential for it: the current context of a
 * kubeconfig, with the files that it names. Disposing it wipes key and token.
 */
export interface ClusterAccess extends Disposable {
  /** The kubeconfig, for messages. */
  readonly path: string;
  readonly cluster: ClusterEndpoint;
  readonly credential: Credential;
}

/** The fields of the cluster entry, unchanged, so that a kubeconfig for another user can repeat them. */
export interface ClusterEndpoint {
  readonly server: string;
  /** Absent: the certificate authorities of the system are trusted. */
  readonly certificateAuthority?: CertificateAuthority;
  readonly tlsServerName?: string;
  /** May hold a password, so messages show the label of `proxyFor` instead. */
  readonly proxyUrl?: string;
  readonly insecureSkipTlsVerify: boolean;
}

export interface CertificateAuthority {
  readonly pem: Uint8Array<ArrayBuffer>;
  /** An absolute path; absent when the kubeconfig embeds the certificates. */
  readonly file?: string;
}

export interface Credential {
  readonly token?: Secret;
  /** An absolute path. Its content takes precedence over `token`. */
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
  /** Only the CERTIFICATE blocks, also when the file holds the key as well. */
  readonly pem: Uint8Array<ArrayBuffer>;
  readonly key: Secret;
}
