import type { SecureContext } from 'node:tls';
import { createSecureContext, getCACertificates } from 'node:tls';
import { AgentError } from '../core/errors.ts';
import type { ClusterAccess, ClusterEndpoint } from './cluster-access.ts';

/**
 * The trusted authorities and the client certificate, parsed once by OpenSSL. Connections
 * with this context need neither the key nor the kubeconfig again.
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
      `kubeconfig ${path}: its certificates and key cannot be used for TLS`,
      {
        cause: error,
        remedy:
          'Check that client-certificate and client-key belong together, and that the key has no passphrase',
      },
    );
  }
}

/** Those of the cluster, or the system's, as in Go. By default Node would use its built-in list. */
function authorities({ certificateAuthority }: ClusterEndpoint): string[] | Buffer {
  return certificateAuthority ? view(certificateAuthority.pem) : getCACertificates('system');
}

/**
 * For an https:// proxy: trusts the authorities of the cluster, which are all that Go
 * trusts here, and those of the system. It holds no client certificate.
 */
export function proxyTlsContext({ cluster }: ClusterAccess): SecureContext {
  const own = cluster.certificateAuthority ? [view(cluster.certificateAuthority.pem)] : [];
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ca: [...own, ...getCACertificates('system')],
  });
}

/** The same memory as a Buffer, because node:tls takes only Buffers. A copy of a key would not be wiped. */
function view(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
