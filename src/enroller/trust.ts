import type { CertificateTemplate } from '../core/certificate-spec.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import { whoAmI } from '../kube/access-review.ts';
import type { ApiIdentity } from '../kube/access-review.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import type { ApiAccess } from './api-access.ts';
import type { IssuedChain } from './issued-certificate.ts';
import { hasSameIssuerKey } from './issuer-key.ts';
import type { PrivateKey } from './private-key.ts';

export interface TrialOptions {
  readonly access: Pick<ApiAccess, 'current' | 'openWith'>;
  readonly template: CertificateTemplate;
  readonly chain: IssuedChain;
  readonly key: PrivateKey;
  readonly signal: AbortSignal;
}

/**
 * Tests an issued client certificate against the API server before it replaces a working one.
 * Only the API server knows its --client-ca-file: the CA in the kubeconfig signs serving
 * certificates and may be another CA (k3s-io/k3s#3244), and during a CA rollover the signer may
 * change to the new CA before the API server trusts it. If the same CA key signed the
 * certificate in use, no test is needed.
 * @throws AgentError CERT_UNTRUSTED when the API server rejects the certificate, API_ANONYMOUS
 *   when the certificate does not reach the API server, other API_* codes without a response
 */
export async function verifyTrust(options: TrialOptions): Promise<void> {
  const { access, template, chain } = options;
  if (!template.usages.includes('client auth')) return;
  if (!template.signerName.startsWith('kubernetes.io/kube-apiserver-client')) return;
  const { cluster, credential } = access.current().access;
  const previous = credential.clientCertificate?.pem;
  const authorities = cluster.certificateAuthority?.pem;
  if (previous !== undefined && hasSameIssuerKey({ previous, issued: chain.pem, authorities }))
    return;
  const identity = await trialIdentity(options);
  const wanted = template.subject.commonName;
  if (identity !== 'unknown' && identity.username !== wanted) throw otherUser(options, identity);
}

/** Uses only the new certificate, because a token or an impersonation would hide its user. */
async function trialIdentity({
  access,
  chain,
  key,
  signal,
}: TrialOptions): Promise<ApiIdentity | 'unknown'> {
  const { path, cluster } = access.current().access;
  using pem = key.exportPem();
  const trial: ClusterAccess = {
    path,
    cluster,
    credential: { clientCertificate: { pem: chain.pem, key: pem } },
    // Does not wipe the key, which the enrollment still has to store. `using` wipes the copy in PEM.
    [Symbol.dispose]: () => undefined,
  };
  await using client = await access.openWith(trial);
  try {
    return await whoAmI(client, signal);
  } catch (error) {
    throw hasCode(error, 'API_UNAUTHORIZED') ? rejected(chain, error) : error;
  }
}

function rejected(chain: IssuedChain, cause: AgentError): AgentError {
  const { issuer } = chain.leaf.facts;
  const message = `the API server rejects the issued certificate (issuer ${issuer}), so nodecertd does not store it`;
  return new AgentError('CERT_UNTRUSTED', message, {
    cause,
    remedy: `Add the CA that signed it to the file of kube-apiserver --client-ca-file, or make kube-controller-manager sign with a CA of that file (--cluster-signing-cert-file); nodecertd retries in 1h`,
  });
}

/** A proxy that terminates TLS may use its own client certificate. */
function otherUser({ access, template }: TrialOptions, { username }: ApiIdentity): AgentError {
  const { path, cluster } = access.current().access;
  const message = `the API server at ${cluster.server} identifies this node as ${username}, not as ${template.subject.commonName}: a load balancer or proxy terminates TLS`;
  return new AgentError('API_ANONYMOUS', message, {
    remedy: `Configure the load balancer or proxy at ${cluster.server} to pass TLS through to the API server, or set server in ${path} to the address of an API server`,
  });
}
