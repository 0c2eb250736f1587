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
 * Loads a kubeconfig that makes a bootstrap unnecessary. The rule is the kubelet's
 * (`isClientConfigStillValid` in pkg/kubelet/certificate/bootstrap): the file loads, has a
 * client certificate with its key, and no certificate of that chain has expired. A
 * token or an exec plugin does not count. Unlike the kubelet, this also rejects a
 * certificate that is not valid yet: if the clocks of a cluster were set back, that
 * certificate may become valid only years later.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED,
 * CREDENTIAL_EXPIRED, CERT_NOT_YET_VALID
 */
export async function loadValidKubeconfig(path: string, now: Instant): Promise<ClusterAccess> {
  const access = await loadKubeconfig(path);
  try {
    tlsContext(access);
    const validity = credentialValidity(access);
    if (validity === undefined) {
      throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} has no client certificate`, {
        remedy: 'Configure a bootstrap kubeconfig with a new token: kubeadm token create',
      });
    }
    const { notBefore, notAfter } = validity;
    if (now > notAfter) {
      throw new AgentError(
        'CREDENTIAL_EXPIRED',
        `the client certificate of kubeconfig ${path} expired at ${formatInstant(notAfter)}`,
        {
          remedy:
            'Put a new token into the bootstrap kubeconfig (kubeadm token create), and check the clock of this node',
        },
      );
    }
    if (notBefore > now + skewLeeway) {
      throw new AgentError(
        'CERT_NOT_YET_VALID',
        `the client certificate of kubeconfig ${path} is not valid before ${formatInstant(notBefore)}; the clock of this node shows ${formatInstant(now)}`,
        { remedy: 'Check the clock of this node: timedatectl' },
      );
    }
    return access;
  } catch (error) {
    access[Symbol.dispose]();
    throw error;
  }
}

/** The period in which the whole chain of the client certificate is valid; undefined without a certificate. */
export function credentialValidity(
  access: ClusterAccess,
): { readonly notBefore: Instant; readonly notAfter: Instant } | undefined {
  const { clientCertificate } = access.credential;
  if (clientCertificate === undefined) return undefined;
  // node:crypto reads the dates ten times as fast as core/x509.ts.
  const chain = parsePem(clientCertificate.pem).map(
    ({ label, der }) => new X509Certificate(encodePem(label, der)),
  );
  return {
    notBefore: Math.max(...chain.map(({ validFromDate }) => validFromDate.getTime())),
    notAfter: Math.min(...chain.map(({ validToDate }) => validToDate.getTime())),
  };
}
