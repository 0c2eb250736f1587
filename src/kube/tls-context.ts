import type { SecureContext } from 'node:tls';
import { createSecureContext, getCACertificates } from 'node:tls';
import { AgentError } from '../core/errors.ts';
import type { ClusterAccess, ClusterEndpoint } from './cluster-access.ts';

/**
 * What to trust and whom to be, parsed once by OpenSSL: connections made with it
 * need neither the key nor the kubeconfig any more.
 * @throws AgentError KUBECONFIG_INVALID when key and certificate do not belong together
 */
export function tlsContext({ path, cluster, credential }: ClusterAccess): SecureContext {
  const { clientCertificate } = credential;
  try {
    return createSecureContext({
      minVersion: 'TLSv1.2',
      ca: authorities(cluster),
      ...(clientCertificate !== undefined && {
        cert: view(clientCertificate.pem),
        key: view(clientCertificate.key.expose()),
      }),
    });
  } catch (error) {
    throw new AgentError(
      'KUBECONFIG_INVALID',
      `kubeconfig ${path}: certificates and key cannot be used for TLS`,
      {
        cause: error,
        remedy:
          'Check that client-certificate and client-key belong together and have no passphrase',
      },
    );
  }
}

/** The cluster's own, or else the system's as for Go; Node by itself would take the list built into it. */
function authorities({ certificateAuthority }: ClusterEndpoint): string[] | Buffer {
  return certificateAuthority ? view(certificateAuthority.pem) : getCACertificates('system');
}

/**
 * What a proxy may be trusted by: the cluster's authorities (all that Go looks at)
 * or the system's. The client certificate is not for its eyes.
 */
export function proxyTlsContext({ cluster }: ClusterAccess): SecureContext {
  const own = cluster.certificateAuthority ? [view(cluster.certificateAuthority.pem)] : [];
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ca: [...own, ...getCACertificates('system')],
  });
}

/** The same memory as a Buffer, which is all that node:tls takes; a copy would escape wiping. */
function view(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
