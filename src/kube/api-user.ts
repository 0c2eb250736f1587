import { AgentError } from '../core/errors.ts';
import type { ClusterAccess, Credential } from './cluster-access.ts';

/** The user of a request in which the API server finds no credential (k8s.io/apiserver, user.Anonymous). */
export const anonymousUser = 'system:anonymous';

const nodeUserPrefix = 'system:node:';

/** Node `n1` for user `system:node:n1`; undefined for a user that is not a node. */
export function nodeOfUser(username: string): string | undefined {
  return username.startsWith(nodeUserPrefix) ? username.slice(nodeUserPrefix.length) : undefined;
}

/** The user named by the message of a 403 from RBAC or the node authorizer. */
export function userInMessage(message: string): string | undefined {
  return /\bUser "([^"]+)" cannot /.exec(message)?.[1];
}

/**
 * The node that the API server takes this client for, when a 403 says that it is another node
 * than the one the request is about. The node authorizer names the user, the admission plugin
 * NodeRestriction names the only common name that it lets this node request.
 */
export function otherNodeInMessage(message: string, path: string): string | undefined {
  const restricted = /can only create a node CSR with CN=system:node:(\S+)/.exec(message)?.[1];
  if (restricted !== undefined) return restricted;
  const node = nodeOfUser(userInMessage(message) ?? '');
  const wanted = /^\/api\/v1\/nodes\/([^/]+)/.exec(path)?.[1];
  if (node === undefined || wanted === undefined) return undefined;
  return decodeURIComponent(wanted) === node ? undefined : node;
}

/** For a node whose certificate has another name than the configuration. */
export function nodeNameRemedy(certified: string): string {
  return `Set nodeName (--hostname-override) to ${certified}; or, if the node was renamed, remove its certificate and kubeconfig and bootstrap again`;
}

/**
 * The API server answers, and sees no credential. No role is missing: a role for
 * system:anonymous would open the cluster to everyone.
 */
export function anonymousError(request: string, access: ClusterAccess): AgentError {
  const { path, cluster, credential } = access;
  const { server } = cluster;
  const [found, remedy] = unseenCredential(credential);
  const message = `${request} at ${server}: ${found} (it takes this node for ${anonymousUser})`;
  const otherServer = `or set server in ${path} to the address of an API server`;
  return new AgentError('API_ANONYMOUS', message, {
    remedy:
      remedy === undefined
        ? `Put a client certificate or a token into ${path}`
        : `Configure the load balancer or proxy at ${server} to ${remedy}, ${otherServer}`,
  });
}

/** What is wrong, and what a load balancer has to do about it; undefined when it is not to blame. */
function unseenCredential(credential: Credential): readonly [string, string | undefined] {
  const { clientCertificate, token, tokenFile, plugin } = credential;
  if (clientCertificate !== undefined) {
    return [
      "the API server does not see this node's certificate: something in between ends TLS",
      'pass TLS through to the API server',
    ];
  }
  if (token ?? tokenFile ?? plugin) {
    return [
      'the API server does not see the credential: something in between removes it',
      'pass TLS and the Authorization header through to the API server',
    ];
  }
  return ['the kubeconfig holds no credential', undefined];
}
