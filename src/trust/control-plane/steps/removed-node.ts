import { isSameAuthority } from '../../../core/trust-bundle.ts';
import { readAuthority } from '../../../kube/authorities.ts';
import { fileIn } from '../../../pki/components/component-flags.ts';
import { findLocalNode } from '../../../pki/inventory/local-inventory.ts';
import type { RolloverAuthorities } from '../../cluster/gate.ts';
import { applyCommand } from '../apply-command.ts';
import { clientAuthoritiesTask, publishedClientAuthorities } from '../client-authorities-task.ts';
import { clusterInfoTask, removeManagerFlagsTask } from '../cluster-tasks.ts';
import { certificatesAt } from '../node-files.ts';
import type { ControlPlane } from '../node-order.ts';
import { nodesBehind } from '../node-order.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { readControlPlane } from './kubernetes.ts';
import type { GateOptions } from './step-cluster.ts';

/**
 * The last node that had the flags of a rollover may have been removed from the cluster before it did
 * the step `finish` or `abort`, so a node that has done it completes the changes in the cluster.
 * @throws AgentError as KubeClient.request
 */
export async function leftInCluster(
  request: StepRequest,
  options: Pick<GateOptions, 'confirmed'>,
  step: 'finish' | 'abort' = 'finish',
): Promise<Pick<StepPlan, 'tasks' | 'commands'>> {
  const plane = await readControlPlane(request, options);
  const behind = nodesBehind('finish', plane);
  return {
    tasks: behind.length > 0 ? [] : await tasksLeft(plane, request, step),
    commands: behind.map((node) => `${applyCommand(step, 'kubernetes')} # on ${node}`),
  };
}

async function tasksLeft(
  { flags }: ControlPlane,
  request: StepRequest,
  step: 'finish' | 'abort',
): Promise<ClusterTask[]> {
  const former = await formerAuthorities(request);
  return [
    ...(
      await Promise.all(former.map(async (both) => clusterInfoTask(request, both, 'next')))
    ).flat(),
    ...(await removeManagerFlagsTask(request, flags)),
    ...(await Promise.all(
      former.map(async ({ old }) =>
        clientAuthoritiesTask(request, { old, clients: 'kubernetes', step }),
      ),
    )),
  ];
}

/**
 * No file of this node has the old CA. But API servers never remove a CA of clients from their
 * ConfigMap, so an old CA is one that kube-apiserver of this node no longer accepts.
 */
async function formerAuthorities(request: StepRequest): Promise<Required<RolloverAuthorities>[]> {
  const { components } = await findLocalNode(request.directories);
  const path = fileIn(
    components.find(({ name }) => name === 'kube-apiserver'),
    'client-ca-file',
  );
  const found = path === undefined ? undefined : await certificatesAt(request.tree, path);
  const [next, ...others] = (found ?? []).map(({ der }) => readAuthority(der));
  if (next === undefined) return [];
  const accepted = [next, ...others];
  const published = await publishedClientAuthorities(request, 'kubernetes');
  return published
    .filter((one) => !accepted.some((other) => isSameAuthority(one, other)))
    .map((old) => ({ old, next }));
}
