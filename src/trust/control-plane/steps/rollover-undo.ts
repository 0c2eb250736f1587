import type { GateReason } from '../../cluster/gate.ts';
import { isNextInUse } from '../../cluster/next-in-use.ts';
import type { RolloverView } from '../../cluster/rollover.ts';
import { clusterInfoTask, removeManagerFlagsTask } from '../cluster-tasks.ts';
import type { RolloverNode } from '../node-files.ts';
import { readRolloverNode } from '../node-files.ts';
import { nodesBehind } from '../node-order.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import type { GateOptions } from './step-cluster.ts';
import { planFrontProxyUndo } from './front-proxy.ts';
import { authoritiesOf, readControlPlane, viewOf } from './kubernetes.ts';

/**
 * Plans the return from `trust`, `switch` or `finish` on this node: why it must not happen, and what
 * changes in the cluster. The files come from the copies of the step.
 * @throws AgentError as readRolloverNode and viewRollover
 */
export async function planRolloverUndo(
  step: NodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<StepPlan> {
  const { hostName } = request;
  const common = { step, nodeName: hostName, restarts: [], gates: [], notes: [], commands: [] };
  const node = await readRolloverNode(request);
  // After `finish` the node has no files of the rollover, and the copies have them.
  if (node === undefined || step === 'finish') return { ...common, tasks: [], refusals: [] };
  if (node.ca === 'front-proxy') return planFrontProxyUndo({ step, node, request, options });
  const view = await viewOf(node, request, options);
  return {
    ...common,
    tasks: step === 'trust' ? await returnTasks(node, request, options) : [],
    refusals: step === 'trust' ? certificatesByNext(view) : lostOld(node, view),
  };
}

/**
 * A certificate from the new CA would be rejected. Another node that has done the step `switch` serves
 * one before any node reports one.
 */
export function certificatesByNext({
  state,
  authorities,
  local,
  probes,
}: Pick<RolloverView, 'state' | 'authorities' | 'local' | 'probes'>): GateReason[] {
  const { old, next } = authorities;
  if (next === undefined) return [];
  const serving = probes.filter(({ served }) => served.issuedBy === 'next');
  const input = { state, authorities: { old, next }, leaves: local.leaves };
  if (serving.length === 0 && !isNextInUse(input)) return [];
  return [
    {
      state: 'waiting',
      message: 'the new CA has issued certificates already, which this node would reject',
      remedy: `Undo the step switch on each node, and wait until the nodes have certificates from the old CA. If you did that step by hand: ${abort}`,
      ...(serving.length > 0 && { objects: serving.map(({ server }) => server.name) }),
    },
  ];
}

const abort = 'nodecertd ca-rollover plan --abort';

/** Certificates from the old CA would be rejected, or nothing could be issued. */
function lostOld({ old }: RolloverNode, { probes }: RolloverView): GateReason[] {
  const rejecting = probes.filter(({ byOld }) => byOld.kind === 'rejected');
  const objects = rejecting.map(({ server }) => server.name);
  return [
    ...(old.key === undefined
      ? [
          {
            state: 'waiting',
            message: 'the key of the old CA is not on this node',
            remedy: 'Restore ca-previous.key from a backup, or complete the rollover',
          } as const,
        ]
      : []),
    ...(objects.length > 0
      ? [
          {
            state: 'waiting',
            message: 'API servers reject client certificates from the old CA already',
            remedy: 'Undo the step finish on these nodes first, or complete the rollover',
            objects,
          } as const,
        ]
      : []),
  ];
}

/**
 * `kubeadm upgrade` must not write flags for files that the node no longer has. The last node that
 * returns removes the new CA from cluster-info.
 */
async function returnTasks(
  node: RolloverNode,
  request: StepRequest,
  options: GateOptions,
): Promise<ClusterTask[]> {
  const plane = await readControlPlane(request, options);
  const { old, next } = authoritiesOf(node);
  const isLast = nodesBehind('finish', plane).length === 0;
  return [
    await removeManagerFlagsTask(request, plane.flags),
    ...(isLast ? await clusterInfoTask(request, { old: next, next: old }, 'next') : []),
  ];
}
