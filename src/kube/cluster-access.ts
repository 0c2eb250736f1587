import type { Secret } from '../core/secret.ts';

/**
 * The address of one API server and the credential for it: the current context of a
 * kubeconfig, with the files that it names. Disposal wipes key and token.
 */
export interface ClusterAccess extends Disposable {
  /** The kubeconfig, for messages. */
  readonly path: string;
  readonly cluster: ClusterEndpoint;
  readonly credential: Credential;
}

/** The fields of the cluster entry, unchanged, so that a kubeconfig for another user can contain the same fields. */
export interface ClusterEndpoint {
  readonly server: string;
  /** If absent, the client trusts the certificate authorities of the system. */
  readonly certificateAuthority?: CertificateAuthority;
  readonly tlsServerName?: string;
  /** May contain a password, so messages show the label of `proxyFor` instead. */
  readonly proxyUrl?: string;
  /** Without proxyUrl, connect directly, whatever HTTPS_PROXY says. */
  readonly ignoresProxyVariables?: boolean;
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
  /** Runs if the user has no other credential; client-go has the same precedence. */
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
  /** The configuration for plugins: the extension client.authentication.k8s.io/exec of the cluster entry. */
  readonly clusterConfig?: unknown;
}

/** The identity that requests impersonate; the credential needs the permission to do so. */
export interface Impersonation {
  readonly user: string;
  /** Empty if absent. */
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[] | null>>;
}

export interface ClientCertificate {
  /** Only the CERTIFICATE blocks, even if the file also contains the key. */
  readonly pem: Uint8Array<ArrayBuffer>;
  readonly key: Secret;
}
