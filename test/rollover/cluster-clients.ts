import { join } from 'node:path';
import type { ApiProber } from '../support/api-prober.ts';
import { startProbingProcess } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { apiName } from '../support/kubeadm-configuration.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import type { FailedProbe } from './prober.ts';
import type { Report } from './scenario.ts';

/** A client that connects with the files of a node, which it reads again each time. */
export interface ClusterClient {
  readonly name: string;
  /** The files of the node on the host. */
  readonly root: string;
  /** On the node. */
  readonly kubeconfig: string;
  readonly url: string;
  /** The name that it verifies, if it is not the address. */
  readonly serverName?: string;
  /** On the host: the CAs of the server, if they are not those of the kubeconfig. */
  readonly caFile?: string;
  readonly status: number;
}

export interface ClusterClients {
  readonly clients: readonly ClusterClient[];
  /** Clients with a new certificate, which they request as this administrator. */
  readonly newClients: Pick<ClusterClient, 'root' | 'kubeconfig'> & {
    /** The URL of the load balancer. */
    readonly balanced: string;
    /** Those of the API servers. */
    readonly servers: readonly string[];
  };
}

/**
 * Clients of every API server, every kubelet and a load balancer, with the certificates of a node, of an
 * administrator and of kube-controller-manager. Others request a new certificate through the load
 * balancer, and use it at every API server.
 */
export function startClusterClients(
  cluster: KubeadmCluster,
  { url: balanced }: { readonly url: string },
): ApiProber {
  const { controlPlanes, nodes, network } = cluster;
  const clients = holdersIn(cluster).flatMap(({ what, kubelet, path, files }) => [
    ...controlPlanes.flatMap((server) => apiClients(server, { ...files, what })),
    ...nodes.map((server) => ({ ...kubeletClient(server, what), ...files, status: kubelet })),
    { ...files, name: `${what} ${throughBalancer}`, url: `${balanced}${path}`, status: 200 },
  ]);
  const { files } = administratorIn(cluster);
  const ready = controlPlanes.map(({ name, address }) => ({
    ...files,
    name: `readyz of ${name}`,
    url: `https://${address}:6443/readyz`,
    status: 200,
  }));
  const servers = controlPlanes.map(({ address }) => `https://${address}:6443`);
  const all: ClusterClients = {
    clients: [...clients, ...ready],
    newClients: { ...files, balanced, servers },
  };
  const script = join(import.meta.dirname, 'cluster-clients.process.ts');
  return startProbingProcess(network, script, [JSON.stringify(all)]);
}

/** Ends the names of the clients of the load balancer. */
export const throughBalancer = 'through the load balancer';

/**
 * Stops the clients. Before the first restart of kube-apiserver, no request may fail, and later none through the
 * load balancer. An API server that restarts refuses connections, and rejects no certificate.
 * @returns the failed requests that are not allowed
 */
export async function endClients(
  clients: ApiProber,
  { report, restartsSince }: { readonly report: Report; readonly restartsSince: string },
): Promise<FailedProbe[]> {
  const { failures, requests, csrs = 0, longestWaitMs = 0 } = await clients.stop();
  report(`${requests} requests, ${csrs} new certificates, the slowest after ${longestWaitMs} ms`);
  const failed = failures.map((line) => JSON.parse(line) as FailedProbe);
  const isAllowed = ({ client, at, problem }: FailedProbe): boolean =>
    at >= restartsSince && !client.endsWith(throughBalancer) && !rejection.test(problem);
  const others = failed.filter((failure) => !isAllowed(failure));
  report(`${failed.length} failed, ${others.length} of them without the restart of an API server`);
  for (const other of others) report(JSON.stringify(other));
  return others;
}

const rejection = /\b401\b|certificate|verif|alert/i;

interface Holder {
  readonly what: string;
  readonly files: Pick<ClusterClient, 'root' | 'kubeconfig'>;
  /** What kubelets answer. */
  readonly kubelet: number;
  /** What it may get, and kube-apiserver has to read from etcd. */
  readonly path: string;
}

function holdersIn(cluster: KubeadmCluster): Holder[] {
  const [worker] = cluster.workers;
  if (worker === undefined) throw new Error('needs a worker');
  const administrator = administratorIn(cluster);
  const { root } = administrator.files;
  return [
    {
      what: 'node',
      files: { root: worker.container.path('/'), kubeconfig: '/etc/kubernetes/kubelet.conf' },
      kubelet: 403,
      path: `/api/v1/nodes/${worker.name}`,
    },
    administrator,
    {
      what: 'kube-controller-manager',
      files: { root, kubeconfig: '/etc/kubernetes/controller-manager.conf' },
      kubelet: 403,
      path: '/api/v1/nodes?limit=1',
    },
  ];
}

function administratorIn({ controlPlanes }: KubeadmCluster): Holder {
  const root = controlPlanes[0]?.container.path('/') ?? '';
  const files = { root, kubeconfig: '/etc/kubernetes/admin.conf' };
  const path = '/api/v1/namespaces/kube-system';
  return { what: 'administrator', files, kubelet: 200, path };
}

/** By the address and by the name of the API server. Every authenticated user may read /api. */
function apiClients(
  { name, address }: KubeadmNode,
  { what, ...common }: Pick<ClusterClient, 'root' | 'kubeconfig'> & { readonly what: string },
): ClusterClient[] {
  const url = `https://${address}:6443`;
  return [
    { ...common, name: `${what} to ${address}`, url: `${url}/api`, status: 200 },
    {
      ...common,
      name: `${what} to ${apiName} on ${name}`,
      url: `${url}/api`,
      serverName: apiName,
      status: 200,
    },
  ];
}

/** kubeadm's kubelets sign their serving certificate themselves, for their name. */
function kubeletClient(
  { name, address, container }: KubeadmNode,
  what: string,
): Pick<ClusterClient, 'name' | 'url' | 'serverName' | 'caFile'> {
  return {
    name: `${what} to the kubelet of ${name}`,
    url: `https://${address}:10250/healthz`,
    serverName: name,
    caFile: container.path('/var/lib/kubelet/pki/kubelet.crt'),
  };
}
