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
 * Tries an issued client certificate out against the API server before it replaces one that
 * works. The API server accepts client certificates by its --client-ca-file, which no node can
 * read: the CA of the kubeconfig signs serving certificates and may be another one
 * (k3s-io/k3s#3244), and during a CA rollover the signer may be ahead of the API server.
 * A certificate from the same key as the one in use needs no trial.
 * @throws AgentError CERT_UNTRUSTED when the API server rejects the certificate, API_ANONYMOUS
 *   when the certificate does not reach it, other API_* codes when there is no answer
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
  const identity = await tryOut(options);
  const wanted = template.subject.commonName;
  if (identity !== 'unknown' && identity.username !== wanted) throw otherUser(options, identity);
}

/** With the new certificate alone: a token or an impersonation would answer for it. */
async function tryOut({
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
    // The enrollment still has to store the key; the copy in PEM is wiped at the end of this function.
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
  const message = `the API server rejects the issued certificate (issuer ${issuer}), so it is not stored`;
  return new AgentError('CERT_UNTRUSTED', message, {
    cause,
    remedy: `Add the CA that signed it to the file of kube-apiserver --client-ca-file, or have kube-controller-manager sign with a CA of that file (--cluster-signing-cert-file); nodecertd tries again in an hour`,
  });
}

/** A proxy that ends TLS may have a client certificate of its own. */
function otherUser({ access, template }: TrialOptions, { username }: ApiIdentity): AgentError {
  const { path, cluster } = access.current().access;
  const message = `the API server at ${cluster.server} takes us for ${username}, not for ${template.subject.commonName}: something in between ends TLS`;
  return new AgentError('API_ANONYMOUS', message, {
    remedy: `Configure the load balancer or proxy at ${cluster.server} to pass TLS through to the API server, or set server in ${path} to the address of an API server`,
  });
}
