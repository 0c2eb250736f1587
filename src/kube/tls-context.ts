import type { SecureContext } from 'node:tls';
import { createSecureContext, getCACertificates } from 'node:tls';
import { AgentError } from '../core/errors.ts';
import { encodePem } from '../core/pem.ts';
import { ambiguousPairs } from '../core/trust-bundle.ts';
import { readAuthorities } from './authorities.ts';
import type { ClusterAccess, ClusterEndpoint } from './cluster-access.ts';

/**
 * The trusted authorities and the client certificate, parsed once by OpenSSL. Connections
 * with this context need neither the key nor the kubeconfig again.
 * @throws AgentError KUBECONFIG_INVALID when key and certificate do not belong together
 */
export function tlsContext(access: ClusterAccess): SecureContext {
  return contextWith(access, authorities(access.cluster));
}

/**
 * A context for each CA alone, if the kubeconfig has two CAs that OpenSSL cannot tell apart: of two
 * CAs with one subject and no key identifier it tries only the first. Go tries both.
 * @throws AgentError KUBECONFIG_INVALID
 */
export function contextsOfAmbiguousAuthorities(access: ClusterAccess): SecureContext[] {
  const pem = access.cluster.certificateAuthority?.pem ?? new Uint8Array();
  const ambiguous = new Set(ambiguousPairs(readAuthorities(pem).authorities).flat());
  return [...ambiguous].map(({ der }) => contextWith(access, view(encodePem('CERTIFICATE', der))));
}

function contextWith(
  { path, credential: { clientCertificate } }: ClusterAccess,
  ca: string[] | Buffer,
): SecureContext {
  try {
    return createSecureContext({
      minVersion: 'TLSv1.2',
      ca,
      // As in Go, which accepts an intermediate CA as the end of a chain.
      allowPartialTrustChain: true,
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

/** The CAs of the cluster, or the system's CAs, as in Go. Node's default is a built-in list. */
function authorities({
  certificateAuthority,
  insecureSkipTlsVerify,
}: ClusterEndpoint): string[] | Buffer {
  if (certificateAuthority !== undefined) return view(certificateAuthority.pem);
  return insecureSkipTlsVerify ? [] : getCACertificates('system');
}

/**
 * For an https:// proxy. Trusts the CAs of the cluster, as Go does, and also the CAs of the
 * system. Has no client certificate, so the proxy does not receive it.
 */
export function proxyTlsContext({ cluster }: ClusterAccess): SecureContext {
  const own = cluster.certificateAuthority ? [view(cluster.certificateAuthority.pem)] : [];
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ca: [...own, ...getCACertificates('system')],
  });
}

/** The same memory as a Buffer, because node:tls accepts only Buffers. A copy of a key would stay in memory. */
function view(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
