import * as v from 'valibot';
import { AgentError, hasCode } from '../core/errors.ts';
import type { KubeClient } from '../kube/rest-client.ts';

const group = '/apis/cluster.x-k8s.io';
/** In the order of preference. The fields that the source uses are the same in both. */
const versions = ['v1beta2', 'v1beta1'];

const groupSchema = v.object({
  versions: v.array(v.object({ version: v.string() })),
});

const versionSchema = v.object({
  resources: v.nullish(v.array(v.object({ name: v.string() })), []),
});

/**
 * The path of the Machines in the newest version that the API server serves and the source knows.
 * @throws AgentError as KubeClient.request; API_NOT_FOUND if the API server has no Machines
 */
export async function machineCollection(
  client: Pick<KubeClient, 'request' | 'access'>,
  signal: AbortSignal,
): Promise<string> {
  try {
    const served = await client.request({ verb: 'get', path: group, signal }, groupSchema);
    const known = versions.filter((name) =>
      served.versions.some(({ version }) => version === name),
    );
    for (const version of known) {
      const path = `${group}/${version}`;
      const { resources } = await client.request({ verb: 'get', path, signal }, versionSchema);
      if (resources.some(({ name }) => name === 'machines')) return `${path}/machines`;
    }
  } catch (error) {
    if (!hasCode(error, 'API_NOT_FOUND')) throw error;
    throw noMachines(client, error);
  }
  throw noMachines(client);
}

function noMachines({ access }: Pick<KubeClient, 'access'>, cause?: unknown): AgentError {
  return new AgentError(
    'API_NOT_FOUND',
    `the API server ${access.cluster.server} has no Machines of cluster.x-k8s.io in version ${versions.join(' or ')}`,
    {
      cause,
      remedy:
        'Install Cluster API in this cluster, or set sources.machine.kubeconfig in the policy to a kubeconfig of the management cluster',
    },
  );
}
