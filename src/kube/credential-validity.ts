import { X509Certificate } from 'node:crypto';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { tlsContext } from './tls-context.ts';

/**
 * Loads a kubeconfig if it can be used in place of bootstrapping. The rule is the
 * kubelet's (`isClientConfigStillValid` in pkg/kubelet/certificate/bootstrap): it
 * loads, holds a client certificate with its key, and no certificate of that chain
 * has expired. A token alone does not make it valid: it is a bootstrap credential.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED, CREDENTIAL_EXPIRED
 */
export async function loadValidKubeconfig(path: string, now: Instant): Promise<ClusterAccess> {
  const access = await loadKubeconfig(path);
  try {
    tlsContext(access);
    const notAfter = credentialExpiry(access);
    if (notAfter === undefined) {
      throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} holds no client certificate`, {
        remedy: 'Bootstrap with a token to obtain one',
      });
    }
    if (now > notAfter) {
      throw new AgentError(
        'CREDENTIAL_EXPIRED',
        `the client certificate of kubeconfig ${path} expired at ${formatInstant(notAfter)}`,
        { remedy: 'Bootstrap with a token to obtain a new one, and check the clock of this node' },
      );
    }
    return access;
  } catch (error) {
    access[Symbol.dispose]();
    throw error;
  }
}

/** When the first certificate of the client's chain expires; undefined without a client certificate. */
export function credentialExpiry(access: ClusterAccess): Instant | undefined {
  const { clientCertificate } = access.credential;
  if (clientCertificate === undefined) return undefined;
  // node:crypto rather than core/x509.ts: a tenth of its cost, and nothing but a date is needed.
  const moments = parsePem(clientCertificate.pem).map(({ label, der }) =>
    new X509Certificate(encodePem(label, der)).validToDate.getTime(),
  );
  return Math.min(...moments);
}
