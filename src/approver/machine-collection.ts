import * as v from 'valibot';
import { AgentError } from '../core/errors.ts';
import type { KubeClient } from '../kube/rest-client.ts';

const group = 'cluster.x-k8s.io';
/** In the order of preference. The fields that the source uses are the same in both. */
const versions = ['v1beta2', 'v1beta1'];

const groupsSchema = v.object({
  groups: v.array(
    v.object({ name: v.string(), versions: v.array(v.object({ version: v.string() })) }),
  ),
});

const versionSchema = v.object({
  resources: v.nullish(v.array(v.object({ name: v.string() })), []),
});

/**
 * The path of the Machines in the newest version that the API server serves and the source knows.
 * Begins with the list of all groups, because the answer to an unknown group is a page that a web
 * server could also send.
 * @throws AgentError as KubeClient.request; API_NOT_FOUND if the API server has no Machines
 */
export async function machineCollection(
  client: Pick<KubeClient, 'request' | 'access'>,
  signal: AbortSignal,
): Promise<string> {
  const { groups } = await client.request({ verb: 'get', path: '/apis', signal }, groupsSchema);
  const served = groups.find(({ name }) => name === group)?.versions ?? [];
  for (const name of versions) {
    if (!served.some(({ version }) => version === name)) continue;
    const path = `/apis/${group}/${name}`;
    const { resources } = await client.request({ verb: 'get', path, signal }, versionSchema);
    if (resources.some((resource) => resource.name === 'machines')) return `${path}/machines`;
  }
  throw noMachines(client);
}

function noMachines({ access }: Pick<KubeClient, 'access'>): AgentError {
  return new AgentError(
    'API_NOT_FOUND',
    `the API server ${access.cluster.server} has no Machines of ${group} in version ${versions.join(' or ')}`,
    {
      remedy:
        'Install Cluster API in this cluster, or set sources.machine.kubeconfig in the policy to a kubeconfig of the management cluster',
    },
  );
}
