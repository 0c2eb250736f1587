import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import { parseIfJson } from '../kube/body.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import type { SingleResponse } from '../kube/single-get.ts';
import { statusError } from '../kube/status-error.ts';
import type { ClusterInfo } from './cluster-info.ts';
import { clusterInfoPath, parseClusterInfo } from './cluster-info.ts';
import { notAnApiServer } from './connection-failure.ts';

export type Response = Extract<SingleResponse, { readonly kind: 'response' }>;

/**
 * The cluster-info in a response, which may come from any kind of server.
 * @throws AgentError API_* that says what the server is, or what it lacks
 */
export function clusterInfoIn(
  response: Response,
  { access, now }: { readonly access: ClusterAccess; readonly now: Instant },
): ClusterInfo {
  const { status, body } = response;
  if (status !== 200) throw refusal(response, { access, now });
  const info = parseClusterInfo(body);
  if (info === undefined) throw notAnApiServer(describe(response));
  if (info.kubeconfig === '') {
    throw new AgentError('API_BAD_RESPONSE', 'the ConfigMap cluster-info has no kubeconfig', {
      remedy: creation,
    });
  }
  return info;
}

function refusal(
  response: Response,
  { access, now }: { readonly access: ClusterAccess; readonly now: Instant },
): AgentError {
  const failure = statusError({
    request: 'get cluster-info',
    path: clusterInfoPath,
    access,
    httpStatus: response.status,
    body: parseIfJson(response.body),
    retryAfter: response.headers['retry-after'],
    now,
  });
  switch (failure.code) {
    case 'API_UNAUTHORIZED':
      return anonymousOff();
    case 'API_ANONYMOUS':
    case 'API_FORBIDDEN':
      return roleMissing();
    case 'API_NOT_FOUND':
      return clusterInfoMissing();
    case 'API_THROTTLED':
    case 'API_SERVER_ERROR':
      return failure;
    default:
      return notAnApiServer(describe(response));
  }
}

function anonymousOff(): AgentError {
  return new AgentError(
    'API_UNAUTHORIZED',
    'the API server rejects anonymous requests (HTTP status 401)',
    {
      remedy:
        'Copy a kubeconfig of the cluster to this machine, and run: nodecertd discover --discovery-file FILE',
    },
  );
}

const role = 'kubeadm:bootstrap-signer-clusterinfo';

function roleMissing(): AgentError {
  return new AgentError(
    'API_FORBIDDEN',
    'anonymous users may not read cluster-info (HTTP status 403): the Role of kubeadm is missing',
    {
      remedy: [
        'Use --discovery-file FILE, or run on a control-plane node:',
        `kubectl --namespace kube-public create role ${role} --verb=get --resource=configmaps --resource-name=cluster-info;`,
        `kubectl --namespace kube-public create rolebinding ${role} --role=${role} --user=system:anonymous`,
      ].join(' '),
    },
  );
}

function clusterInfoMissing(): AgentError {
  return new AgentError(
    'API_NOT_FOUND',
    'the cluster has no ConfigMap cluster-info in the namespace kube-public',
    { remedy: creation },
  );
}

const creation =
  'Create it on a control-plane node: kubeadm init phase bootstrap-token; or use --discovery-file FILE';

/** The features of another kind of server: `HTTP status 302, Location https://login.example.com/`. */
function describe({ status, headers, body }: Response): string {
  const { location } = headers;
  const parts = [
    `HTTP status ${status}`,
    ...(location === undefined ? [] : [`Location ${printable(location, 200)}`]),
    ...contentOf(body, headers['content-type']),
  ];
  return parts.join(', ');
}

function contentOf(body: Buffer, type = ''): string[] {
  if (body.length === 0) return ['an empty body'];
  const title = /<title[^>]*>([^<]*)/i.exec(body.toString('utf8', 0, 16_384))?.[1]?.trim();
  if (title) return [`title "${printable(title, 100)}"`];
  return [type === '' ? 'no ConfigMap' : `no ConfigMap but ${printable(type, 60)}`];
}
