import type { CertificateTemplate } from '../core/certificate-spec.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import * as v from 'valibot';
import type { ApiAccess } from './api-access.ts';
import type { IssuedChain } from './issued-certificate.ts';
import { leadsTo } from './issued-certificate.ts';
import type { PrivateKey } from './private-key.ts';

/**
 * Whether the API server will accept an issued client certificate. Where it chains
 * to the CA that the kubeconfig names, that is enough. Clusters may use different
 * CAs for serving and for clients, so where it does not, the server itself is
 * asked: a certificate that it refuses (signed by the wrong CA, k3s-io/k3s#3244)
 * must not replace one that works.
 * @throws AgentError CERT_UNTRUSTED, or API_* when the server could not be asked
 */
export async function verifyTrust(options: {
  readonly access: ApiAccess;
  readonly template: CertificateTemplate;
  readonly chain: IssuedChain;
  readonly key: PrivateKey;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { access, template, chain, key, signal } = options;
  if (!template.usages.includes('client auth')) return;
  if (!template.signerName.startsWith('kubernetes.io/kube-apiserver-client')) return;
  const { cluster, path } = access.current().access;
  const authority = cluster.certificateAuthority;
  if (authority !== undefined && leadsTo(chain, authority.pem)) return;
  using pem = key.exportPem();
  const clientCertificate = { pem: chain.pem, key: pem };
  await using client = await access.openWith({
    path,
    cluster,
    credential: { clientCertificate },
    // The text is wiped below, and the key is the enrollment's, which has yet to store it.
    [Symbol.dispose]: () => undefined,
  });
  try {
    await client.request({ verb: 'get', path: '/version', signal }, v.unknown());
  } catch (error) {
    // Forbidden is fine: it takes a known identity to be forbidden something.
    if (hasCode(error, 'API_FORBIDDEN', 'API_NOT_FOUND')) return;
    if (!hasCode(error, 'API_UNAUTHORIZED')) throw error;
    const message = `the API server does not accept the issued certificate (issuer ${chain.leaf.facts.issuer})`;
    throw new AgentError('CERT_UNTRUSTED', message, {
      cause: error,
      remedy: 'the signer uses another CA than the --client-ca-file of the API server',
    });
  }
}
