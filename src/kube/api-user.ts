import { AgentError } from '../core/errors.ts';
import type { ClusterAccess, Credential } from './cluster-access.ts';

/** The API server assigns this user to a request without a credential (k8s.io/apiserver, user.Anonymous). */
export const anonymousUser = 'system:anonymous';

const nodeUserPrefix = 'system:node:';

/** Node `n1` for user `system:node:n1`; undefined for a user that is not a node. */
export function nodeOfUser(username: string): string | undefined {
  return username.startsWith(nodeUserPrefix) ? username.slice(nodeUserPrefix.length) : undefined;
}

/** The user in the message of a 403 from RBAC or the node authorizer. */
export function userInMessage(message: string): string | undefined {
  return /\bUser "([^"]+)" cannot /.exec(message)?.[1];
}

/**
 * The node name of this client, if a 403 shows that the request is about another node. The
 * message of the node authorizer contains the user. The message of the admission plugin
 * NodeRestriction contains the only common name that this node may request.
 */
export function otherNodeInMessage(message: string, path: string): string | undefined {
  const restricted = /can only create a node CSR with CN=system:node:(\S+)/.exec(message)?.[1];
  if (restricted !== undefined) return restricted;
  const node = nodeOfUser(userInMessage(message) ?? '');
  const wanted = /^\/api\/v1\/nodes\/([^/]+)/.exec(path)?.[1];
  if (node === undefined || wanted === undefined) return undefined;
  return decodeURIComponent(wanted) === node ? undefined : node;
}

/** For a credential with another node name than the configuration. */
export function nodeNameRemedy(
  certifiedName: string,
  forRenamedNode = 'remove its certificate and kubeconfig and bootstrap again',
): string {
  return `Set nodeName (--hostname-override) to ${certifiedName}; or, if the node was renamed, ${forRenamedNode}`;
}

/**
 * The API server receives no credential. The remedy does not suggest a role, because a role
 * for system:anonymous would open the cluster to everyone.
 */
export function anonymousError(request: string, access: ClusterAccess): AgentError {
  const { path, cluster, credential } = access;
  const { server } = cluster;
  const [found, setting] = missingCredential(credential);
  const message = `${request} at ${server}: ${found} (user ${anonymousUser})`;
  const otherServer = `or set server in ${path} to the address of an API server`;
  return new AgentError('API_ANONYMOUS', message, {
    remedy:
      setting === undefined
        ? `Put a client certificate or a token into ${path}`
        : `Configure the load balancer or proxy at ${server} to ${setting}, ${otherServer}`,
  });
}

/** The cause, and the setting of the load balancer that corrects it; undefined if the kubeconfig is the cause. */
function missingCredential(credential: Credential): readonly [string, string | undefined] {
  const { clientCertificate, token, tokenFile, plugin } = credential;
  if (clientCertificate !== undefined) {
    return [
      "the API server does not receive this node's certificate: a load balancer or proxy terminates TLS",
      'pass TLS through to the API server',
    ];
  }
  if (token ?? tokenFile ?? plugin) {
    return [
      'the API server does not receive the credential: a load balancer or proxy removes it',
      'pass TLS and the Authorization header through to the API server',
    ];
  }
  return ['the kubeconfig has no credential', undefined];
}
