import * as v from 'valibot';
import { AgentError, hasCode } from '../../core/errors.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import { LeaseClient } from '../../kube/lease-client.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { parseDocuments } from '../../pki/components/yaml-documents.ts';
import type { PlanFacts } from './plan.ts';

type Client = Pick<KubeClient, 'request'>;

/**
 * What the plan for this cluster contains.
 * @throws AgentError API_NOT_FOUND for a cluster that kubeadm has not made; as KubeClient.request
 */
export async function readPlanFacts(client: Client, signal: AbortSignal): Promise<PlanFacts> {
  const cluster = await readKubeadmCluster(client, signal);
  const places = await otherApiServers(client, { nodeName: '', addresses: new Set() }, signal);
  const leader = await leadingNode(client, signal);
  const nodes = places.flatMap(({ name, address }) => (name === address ? [] : [name])).toSorted();
  return {
    ...cluster,
    // While the leader restarts, nothing is signed. Restarted first, it would hand over to a node that restarts next.
    controlPlanes: [
      ...nodes.filter((node) => node !== leader),
      ...nodes.filter((node) => node === leader),
    ],
  };
}

const configMapSchema = v.object({ data: v.object({ ClusterConfiguration: v.string() }) });

/** Other characters in these texts could be commands for the shell that runs the plan. */
const clusterSchema = v.pipe(
  v.object({
    clusterName: v.nullish(v.pipe(v.string(), v.regex(/^[\w.-]+$/)), 'kubernetes'),
    certificatesDir: v.nullish(v.pipe(v.string(), v.regex(/^\/[\w./-]+$/)), '/etc/kubernetes/pki'),
  }),
  v.transform(({ clusterName, certificatesDir }) => ({
    clusterName,
    certificates: certificatesDir,
  })),
);

async function readKubeadmCluster(
  client: Client,
  signal: AbortSignal,
): Promise<Pick<PlanFacts, 'clusterName' | 'certificates'>> {
  const path = '/api/v1/namespaces/kube-system/configmaps/kubeadm-config';
  try {
    const { data } = await client.request({ verb: 'get', path, signal }, configMapSchema);
    return v.parse(clusterSchema, parseDocuments(data.ClusterConfiguration).first);
  } catch (error) {
    if (!hasCode(error, 'API_NOT_FOUND', 'CONFIG_INVALID') && !(error instanceof v.ValiError)) {
      throw error;
    }
    throw new AgentError(
      'API_NOT_FOUND',
      'the ConfigMap kube-system/kubeadm-config is missing or has no usable ClusterConfiguration, so the files of this control plane are unknown',
      {
        cause: error,
        remedy:
          'Follow docs/ca-rollover.md by hand, with the files and flags of this control plane',
      },
    );
  }
}

/** The node whose kube-controller-manager leads. The holder is the host name and a UUID (kube-controller-manager, app/controllermanager.go). */
export async function leadingNode(
  client: Client,
  signal: AbortSignal,
): Promise<string | undefined> {
  const lease = { namespace: 'kube-system', name: 'kube-controller-manager' };
  const found = await new LeaseClient(client, lease).get(signal);
  return found?.holder?.replace(/_[^_]*$/, '');
}
