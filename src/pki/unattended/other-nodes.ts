import { describeError } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import { formatDuration, second } from '../../core/instant.ts';
import { skewLeeway } from '../../core/schedule.ts';
import type { ApiServerPlace } from '../../kube/api-server-list.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { failingChecks } from '../../kube/readiness.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { Clock } from '../../sys/clock.ts';
import { ServerClock } from './server-clock.ts';

export interface HealthEnvironment {
  /** The credential, and the CA that has issued the certificates of all API servers. */
  readonly access: ClusterAccess;
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export const apiLimits = { connectMs: 5 * second, requestMs: 10 * second };

/** kubeadm and others put this name into the certificate of each API server; addresses may differ. */
const serverName = 'kubernetes.default.svc';

/** Access to one API server of the cluster, with the same credential and CAs. */
export function accessTo(
  place: { readonly host: string; readonly port: number },
  access: ClusterAccess,
): ClusterAccess {
  const server = `https://${formatHostPort(place)}`;
  return { ...access, cluster: { tlsServerName: serverName, ...access.cluster, server } };
}

/**
 * What is wrong with these API servers, one sentence each. In a cluster with stacked etcd, /readyz
 * also tests the etcd member on the node, because that is the only one that its API server uses.
 * @throws AgentError ABORTED
 */
export async function unhealthyServers(
  servers: readonly ApiServerPlace[],
  environment: HealthEnvironment,
): Promise<string[]> {
  const found = await Promise.all(servers.map((server) => problemOf(server, environment)));
  environment.signal.throwIfAborted();
  return found.flatMap((problem, index) =>
    problem === undefined ? [] : [`${servers[index]?.name} is unhealthy: ${problem}`],
  );
}

async function problemOf(
  { address, port }: ApiServerPlace,
  { access, version, clock, signal }: HealthEnvironment,
): Promise<string | undefined> {
  if (address === undefined) return 'its Node has no InternalIP';
  const serverClock = new ServerClock(clock);
  try {
    await using client = await KubeClient.open({
      access: accessTo({ host: address, port }, access),
      version,
      clock,
      limits: apiLimits,
      onDate: serverClock.note,
    });
    const failing = await failingChecks(client, signal);
    const { server } = client.access.cluster;
    if (failing.length > 0) return `${server}/readyz has failing checks: ${failing.join(', ')}`;
    const { ahead } = serverClock;
    if (Math.abs(ahead) <= skewLeeway) return undefined;
    return `its clock is ${formatDuration(Math.abs(ahead))} ${ahead > 0 ? 'behind' : 'ahead of'} the clock of this node`;
  } catch (error) {
    return describeError(error);
  }
}
