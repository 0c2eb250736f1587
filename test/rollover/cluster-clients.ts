import { join } from 'node:path';
import type { ApiProber } from '../support/api-prober.ts';
import { startProbingProcess } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { apiName } from '../support/kubeadm-configuration.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';

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
    readonly servers: readonly string[];
  };
}

/**
 * Clients of every API server and every kubelet, with the certificates of a node, of an administrator
 * and of kube-controller-manager, and clients with a new certificate all the time.
 */
export function startClusterClients(cluster: KubeadmCluster): ApiProber {
  const { controlPlanes, nodes, workers } = cluster;
  const [first] = controlPlanes;
  const [worker] = workers;
  if (first === undefined || worker === undefined) throw new Error('needs a worker');
  const root = first.container.path('/');
  const holders = [
    { what: 'node', node: worker, kubeconfig: '/etc/kubernetes/kubelet.conf', kubelet: 403 },
    { what: 'administrator', node: first, kubeconfig: adminConf, kubelet: 200 },
    {
      what: 'kube-controller-manager',
      node: first,
      kubeconfig: '/etc/kubernetes/controller-manager.conf',
      kubelet: 403,
    },
  ];
  const clients = holders.flatMap(({ what, node, kubeconfig, kubelet }) => {
    const common = { root: node.container.path('/'), kubeconfig };
    return [
      ...controlPlanes.flatMap((server) => apiClients(server, { ...common, what })),
      ...nodes.map((server) => ({ ...kubeletClient(server, what), ...common, status: kubelet })),
    ];
  });
  const ready = controlPlanes.map(({ name, address }) => ({
    name: `readyz of ${name}`,
    root,
    kubeconfig: adminConf,
    url: `https://${address}:6443/readyz`,
    status: 200,
  }));
  const servers = controlPlanes.map(({ address }) => `https://${address}:6443`);
  const all: ClusterClients = {
    clients: [...clients, ...ready],
    newClients: { root, kubeconfig: adminConf, servers },
  };
  const script = join(import.meta.dirname, 'cluster-clients.process.ts');
  return startProbingProcess(cluster.network, script, [JSON.stringify(all)]);
}

const adminConf = '/etc/kubernetes/admin.conf';

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
