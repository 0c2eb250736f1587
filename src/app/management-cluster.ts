import type { MachineCluster } from '../approver/machine-follower.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import type { ApproverClientOptions } from './approver-client.ts';
import { ApproverClient } from './approver-client.ts';

/** A cluster with Machines that has a kubeconfig of its own. Its failures do not concern the approver's own connection. */
export function managementCluster(
  kubeconfig: string,
  environment: FollowEnvironment,
  onRequest: ApproverClientOptions['onRequest'],
): MachineCluster {
  const { clock } = environment;
  const client = new ApproverClient({ load: () => loadKubeconfig(kubeconfig), clock, onRequest });
  return {
    environment: { ...environment, client: () => client.current() },
    refresh: () => client.refresh(),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}

/** The cluster of the approver, whose connection the approver itself keeps. */
export function ownCluster(environment: FollowEnvironment): MachineCluster {
  return {
    environment,
    refresh: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}
