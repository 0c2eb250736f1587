import { stringify } from 'yaml';
import { concat, encodeBase64 } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';

/** The cluster of a bootstrap kubeconfig, and of the kubelet's own kubeconfig. */
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
  return kubeconfigText({
    cluster,
    names: { cluster: 'default-cluster', context: 'default-context', user: 'default-auth' },
    namespace: 'default',
    user: { 'client-certificate': certificatePath, 'client-key': certificatePath },
  });
}

/** The credential with which a node requests its first certificate. */
export type BootstrapCredential =
  | { readonly kind: 'token'; readonly token: Secret }
  | { readonly kind: 'certificate'; readonly pem: Uint8Array; readonly key: Secret };

/**
 * The bootstrap kubeconfig that `kubeadm join` writes, with the same names
 * (cmd/kubeadm/app/discovery/discovery.go, v1.37). The token is always in quotes, because YAML
 * reads a token of digits as a number. The caller wipes the text.
 */
export function bootstrapKubeconfig(
  cluster: KubeconfigCluster,
  credential: BootstrapCredential,
): Secret {
  const user = 'tls-bootstrap-token-user';
  const text = kubeconfigText({
    cluster,
    names: { cluster: 'kubernetes', context: `${user}@kubernetes`, user },
    user:
      credential.kind === 'token'
        ? { token: placeholder }
        : { 'client-certificate-data': base64(credential.pem), 'client-key-data': placeholder },
  });
  const value =
    credential.kind === 'token'
      ? singleQuoted(credential.token.expose())
      : encodeBase64(credential.key.expose());
  // The users come last.
  const at = text.lastIndexOf(placeholder);
  try {
    const [head, tail] = [text.slice(0, at), text.slice(at + placeholder.length)];
    return new Secret(concat([Buffer.from(head), value, Buffer.from(tail)]));
  } finally {
    value.fill(0);
  }
}

/** Stands for the secret while the text is a string, which cannot be wiped. */
const placeholder = 'nodecertd-bootstrap-secret';

const singleQuote = 0x27;

/** A YAML scalar in single quotes, in which only the quote itself is doubled. */
function singleQuoted(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const quotes = bytes.filter((byte) => byte === singleQuote).length;
  const out = new Uint8Array(new ArrayBuffer(bytes.length + quotes + 2));
  out[0] = singleQuote;
  let end = 1;
  for (const byte of bytes) {
    out[end] = byte;
    if (byte === singleQuote) out[end + 1] = singleQuote;
    end += byte === singleQuote ? 2 : 1;
  }
  out[end] = singleQuote;
  return out;
}

interface KubeconfigParts {
  readonly cluster: KubeconfigCluster;
  readonly names: { readonly cluster: string; readonly context: string; readonly user: string };
  readonly namespace?: string;
  readonly user: Readonly<Record<string, string | undefined>>;
}

function kubeconfigText({ cluster, names, namespace, user }: KubeconfigParts): string {
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
        name: names.cluster,
      },
    ],
    contexts: [
      { context: { cluster: names.cluster, namespace, user: names.user }, name: names.context },
    ],
    'current-context': names.context,
    kind: 'Config',
    users: [{ name: names.user, user }],
  };
  // Quotes every string that YAML 1.1 or 1.2 would not read as a string.
  return stringify(document, { indentSeq: false, lineWidth: 0, version: '1.1', compat: 'core' });
}

function base64(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('base64');
}
