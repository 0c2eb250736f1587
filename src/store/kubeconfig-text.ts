import { stringify } from 'yaml';

/** The cluster of the bootstrap kubeconfig, for the kubelet's own kubeconfig. */
export interface KubeconfigCluster {
  readonly server: string;
  readonly certificateAuthority?: {
    readonly pem: Uint8Array;
    /** Absolute path; absent if the bootstrap kubeconfig embeds the CA. */
    readonly file?: string;
  };
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  readonly insecureSkipTlsVerify: boolean;
}

export interface KubeconfigContent {
  readonly cluster: KubeconfigCluster;
  /**
   * The `-current.pem` link, for both certificate and key: clients reload rotated files through it.
   */
  readonly certificatePath: string;
}

/**
 * The kubeconfig that a kubelet writes after its bootstrap, byte for byte. Names, order and the
 * missing `preferences` are those of clientcmd.WriteToFile (v0.37). A CA file is named instead
 * of embedded, so that clients load a new CA from it. Unlike the kubelet, this keeps the TLS
 * server name and the proxy, because the kubelet cannot connect without them
 * (kubernetes/kubernetes, pkg/kubelet/certificate/bootstrap).
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
  // Quotes every string that YAML 1.1 or 1.2 would not read as a string.
  return stringify(document, { indentSeq: false, lineWidth: 0, version: '1.1', compat: 'core' });
}

function base64(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('base64');
}
