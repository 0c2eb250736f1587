import { stringify } from 'yaml';

/** The cluster of the bootstrap kubeconfig, as it has to stand in the kubelet's own. */
export interface KubeconfigCluster {
  readonly server: string;
  readonly certificateAuthority?: {
    readonly pem: Uint8Array;
    /** Absolute; absent when the bootstrap kubeconfig holds the data itself. */
    readonly file?: string;
  };
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  readonly insecureSkipTlsVerify: boolean;
}

export interface KubeconfigContent {
  readonly cluster: KubeconfigCluster;
  /** The `-current.pem` link, for certificate and key: the client reads the rotated pair by itself. */
  readonly certificatePath: string;
}

/**
 * The kubeconfig as a kubelet writes it after its bootstrap, byte for byte: names,
 * order and the lack of `preferences` are those of clientcmd.WriteToFile (v0.37). A
 * file is named rather than embedded, so that a new CA in it is followed. The TLS
 * server name and the proxy are kept; the kubelet drops them, and then cannot
 * connect (kubernetes/kubernetes, pkg/kubelet/certificate/bootstrap).
 */
export function kubeletKubeconfig({ cluster, certificatePath }: KubeconfigContent): string {
  const { certificateAuthority, tlsServerName, proxyUrl, insecureSkipTlsVerify } = cluster;
  const authority =
    certificateAuthority?.file === undefined
      ? { 'certificate-authority-data': base64(certificateAuthority?.pem) }
      : { 'certificate-authority': certificateAuthority.file };
  const document = {
    apiVersion: 'v1',
    clusters: [
      {
        cluster: {
          ...authority,
          'insecure-skip-tls-verify': insecureSkipTlsVerify ? true : undefined,
          'proxy-url': proxyUrl,
          server: cluster.server,
          'tls-server-name': tlsServerName,
        },
        name: 'default-cluster',
      },
    ],
    contexts: [
      {
        context: { cluster: 'default-cluster', namespace: 'default', user: 'default-auth' },
        name: 'default-context',
      },
    ],
    'current-context': 'default-context',
    kind: 'Config',
    users: [
      {
        name: 'default-auth',
        user: { 'client-certificate': certificatePath, 'client-key': certificatePath },
      },
    ],
  };
  // Quoted is what either version of YAML takes for something else than text: readers differ.
  return stringify(document, { indentSeq: false, lineWidth: 0, version: '1.1', compat: 'core' });
}

function base64(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('base64');
}
