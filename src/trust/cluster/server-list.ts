import type { Failure } from '../../core/errors.ts';
import { hasCode, toFailure } from '../../core/errors.ts';
import { hostOf } from '../../core/host-port.ts';
import type { ApiServerPlace } from '../../kube/api-server-list.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import type { ProbedServer } from './probes.ts';

export interface ServerList {
  readonly servers: readonly ProbedServer[];
  /** Why there may be others. */
  readonly unlisted?: Failure;
}

/**
 * The API servers of the control-plane Nodes and of the EndpointSlice, or else the one in the
 * kubeconfig.
 * @throws AgentError as KubeClient.request
 */
export async function listServers(client: KubeClient, signal: AbortSignal): Promise<ServerList> {
  const url = new URL(client.access.cluster.server);
  const own = { name: url.host, host: hostOf(url), port: Number(url.port) || 443 };
  try {
    const places = await otherApiServers(client, { nodeName: '', addresses: new Set() }, signal);
    return { servers: places.length > 0 ? places.map(serverAt) : [own] };
  } catch (error) {
    if (!hasCode(error, 'API_FORBIDDEN')) throw error;
    return { servers: [own], unlisted: toFailure(error) };
  }
}

/** A Node without an address may have a name that resolves. */
function serverAt({ name, address, port }: ApiServerPlace): ProbedServer {
  return { name, host: address ?? name, port };
}
