import { X509Certificate } from 'node:crypto';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import { skewLeeway } from '../core/schedule.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { tlsContext } from './tls-context.ts';

/**
 * Loads a kubeconfig if it can be used in place of bootstrapping. The rule is the
 * kubelet's (`isClientConfigStillValid` in pkg/kubelet/certificate/bootstrap): it
 * loads, holds a client certificate with its key, and no certificate of that chain
 * has expired. A token alone does not make it valid: it is a bootstrap credential. Nor
 * is one valid whose time is still to come, which the kubelet does not look at: nobody
 * accepts it, and after a cluster's clocks were set back that may last for years.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED,
 * CREDENTIAL_EXPIRED, CERT_NOT_YET_VALID
 */
export async function loadValidKubeconfig(path: string, now: Instant): Promise<ClusterAccess> {
  const access = await loadKubeconfig(path);
  try {
    tlsContext(access);
    const validity = credentialValidity(access);
    if (validity === undefined) {
      throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} holds no client certificate`, {
        remedy: 'Bootstrap with a token to obtain one',
      });
    }
    const { notBefore, notAfter } = validity;
    if (now > notAfter) {
      throw new AgentError(
        'CREDENTIAL_EXPIRED',
        `the client certificate of kubeconfig ${path} expired at ${formatInstant(notAfter)}`,
        { remedy: 'Bootstrap with a token to obtain a new one, and check the clock of this node' },
      );
    }
    if (notBefore > now + skewLeeway) {
      throw new AgentError(
        'CERT_NOT_YET_VALID',
        `the client certificate of kubeconfig ${path} is valid from ${formatInstant(notBefore)}; it is ${formatInstant(now)} here`,
        { remedy: 'Check the clock of this node: timedatectl' },
      );
    }
    return access;
  } catch (error) {
    access[Symbol.dispose]();
    throw error;
  }
}

/** From when until when every certificate of the client's chain is valid; undefined without a client certificate. */
export function credentialValidity(
  access: ClusterAccess,
): { readonly notBefore: Instant; readonly notAfter: Instant } | undefined {
  const { clientCertificate } = access.credential;
  if (clientCertificate === undefined) return undefined;
  // node:crypto rather than core/x509.ts: a tenth of its cost, and nothing but a date is needed.
  const chain = parsePem(clientCertificate.pem).map(
    ({ label, der }) => new X509Certificate(encodePem(label, der)),
  );
  return {
    notBefore: Math.max(...chain.map(({ validFromDate }) => validFromDate.getTime())),
    notAfter: Math.min(...chain.map(({ validToDate }) => validToDate.getTime())),
  };
}
