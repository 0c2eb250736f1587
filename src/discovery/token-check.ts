import { AgentError, hasCode } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { whoAmI } from '../kube/access-review.ts';
import { KubeClient } from '../kube/rest-client.ts';
import type { ConnectionContext, VerifiedTarget } from './connection.ts';
import { clientLimits, verifiedAccess } from './connection.ts';
import type { DiscoveryRequest } from './discovery.ts';

/**
 * True if the API server accepts the token. Sends the token, so the target must be verified.
 * @throws AgentError TOKEN_REJECTED for a token of another user; API_*, ABORTED
 */
export async function authenticates(
  { token }: Pick<DiscoveryRequest, 'token'>,
  target: Omit<VerifiedTarget, 'token'>,
  { clock, signal, version }: ConnectionContext,
): Promise<boolean> {
  const access = verifiedAccess({ ...target, token: token.text });
  await using client = await KubeClient.open({ access, version, clock, limits: clientLimits });
  try {
    const identity = await whoAmI(client, signal);
    // An old API server accepts the token, but cannot say whose it is.
    if (identity !== 'unknown') requireBootstrapUser(identity.username, token.id);
    return true;
  } catch (error) {
    if (hasCode(error, 'API_UNAUTHORIZED')) return false;
    throw error;
  }
}

/** k8s.io/cluster-bootstrap api.BootstrapUserPrefix. */
function requireBootstrapUser(username: string, id: string): void {
  if (username === `system:bootstrap:${id}`) return;
  throw new AgentError(
    'TOKEN_REJECTED',
    `the API server authenticates token ${id} as ${printable(username, 100)}, expected system:bootstrap:${id}`,
    {
      remedy:
        'Remove the other authenticator of that token, or create a token: kubeadm token create --print-join-command',
    },
  );
}

/** For a token whose signature is right, but that does not authenticate. */
export function notAuthenticated(id: string): AgentError {
  return new AgentError(
    'TOKEN_REJECTED',
    `token ${id} does not authenticate: it lacks usage-bootstrap-authentication or has expired`,
    {
      remedy: 'Create a token on a control-plane node: kubeadm token create --print-join-command',
    },
  );
}

/** For a token that authenticates, although cluster-info is not signed for it. */
export function withoutSigning(id: string): AgentError {
  return new AgentError(
    'TOKEN_REJECTED',
    `token ${id} lacks usage-bootstrap-signing: it authenticates, but cluster-info is not signed for it`,
    {
      remedy:
        'Create a token with both usages on a control-plane node: kubeadm token create --print-join-command',
    },
  );
}

/** @param others the number of other tokens for which cluster-info is signed */
export function notSigned(id: string, others: number): AgentError {
  const counted = others === 1 ? '1 other token' : `${others} other tokens`;
  return new AgentError(
    'TOKEN_REJECTED',
    `cluster-info is not signed for token ${id}, only for ${counted}: the token belongs to another cluster, has expired, or lacks usage-bootstrap-signing`,
    {
      remedy:
        'Create a token on a control-plane node of the right cluster: kubeadm token create --print-join-command',
    },
  );
}

/** For a cluster-info without any signature. */
export function nothingSigned(): AgentError {
  return new AgentError(
    'TOKEN_REJECTED',
    'cluster-info is not signed for any token: all tokens have expired, or the bootstrap signer of kube-controller-manager does not run',
    {
      remedy:
        'Create a token, and check the controller manager: kubeadm token create --print-join-command; kubectl --namespace kube-system get pods --selector component=kube-controller-manager',
    },
  );
}
