import type { GateReason } from '../cluster/gate.ts';
import type { CheckContext } from './check.ts';
import { looseKeys } from './ca-files.ts';
import { kubeletNote } from './kubelet-note.ts';
import { requireUsualPaths } from './managed-component.ts';
import { bridgeOf, caPath } from './node-files.ts';
import { applyCommand, rolloverBack } from './apply-command.ts';
import { bridgeObstacle } from './new-authority.ts';
import { harmOn, latestStep, repairingStep } from './stage.ts';
import { clientsFileOf, hasOwnClients } from './step-flags.ts';
import { abortTasks } from './steps/abort.ts';
import { finishTasks, removalTask, removedFiles } from './steps/finish.ts';
import {
  abortFrontProxyTasks,
  finishFrontProxyTasks,
  switchFrontProxyTasks,
  trustFrontProxyTasks,
} from './steps/front-proxy-tasks.ts';
import { etcdObstacles, hasExternalEtcd } from './etcd/support.ts';
import {
  etcdAbortTasks,
  etcdFinishTasks,
  etcdSwitchTasks,
  etcdTrustTasks,
} from './steps/etcd-tasks.ts';
import {
  externalFinishTasks,
  externalSwitchTasks,
  externalTrustTasks,
  importObstacles,
} from './steps/external-etcd-tasks.ts';
import { switchTasks } from './steps/switch.ts';
import { trustTasks } from './steps/trust.ts';
import type { CaName, FileTask, Stage, Step } from './task.ts';

/** The steps after `create` that lead to the new CA. */
export type NodeStepName = Exclude<Stage, 'create'>;
export type AnyNodeStepName = Exclude<Step, 'create'>;

/** This node's part of a step. */
export interface NodeStep {
  /** The latest step that has begun. */
  readonly latest: Stage;
  /** In order. Empty if there is an obstacle. */
  readonly tasks: readonly FileTask[];
  /** What comes after the changes in the cluster. */
  readonly lastTasks: readonly FileTask[];
  /** Why the step must not begin on this node. */
  readonly obstacles: readonly GateReason[];
  /** What is wrong on this node now, and the step that repairs it. */
  readonly harm: readonly GateReason[];
  /** What apply leaves to others. */
  readonly notes: readonly string[];
  /** The step repairs the files of this node, because it has been done here before. */
  readonly isRepair: boolean;
}

/**
 * Compares the files of this node with those after the step. A repeated step finds only what is
 * missing, also after `kubeadm certs renew` or a crash.
 * @throws AgentError CA_EXTERNAL, CONFIG_INVALID and others for files that a step cannot change
 */
export async function planNodeStep(
  step: AnyNodeStepName,
  context: CheckContext,
): Promise<NodeStep> {
  const { node } = context;
  const latest = await latestStep(node);
  const harm = await harmOn(node, latest);
  const repairing = repairingStep(node, latest);
  const obstacles = [...(await obstaclesTo(step, repairing, context)), ...(await looseKeys(node))];
  const isRepair = step === 'abort' || order[repairing] >= order[step];
  const common = { latest, obstacles, harm, isRepair };
  await requireUsualPaths(node);
  if (obstacles.length > 0) return { ...common, tasks: [], lastTasks: [], notes: [] };
  return {
    ...common,
    tasks: await tasksFor(step, context),
    lastTasks: await lastTasks(step, latest, context),
    notes: step === 'trust' && node.ca === 'kubernetes' ? await kubeletNote(node) : [],
  };
}

const order = { create: 0, trust: 1, switch: 2, finish: 3 } as const satisfies Record<
  Stage,
  number
>;

type TasksOf = Readonly<Record<AnyNodeStepName, (context: CheckContext) => Promise<FileTask[]>>>;

const tasksOf: Readonly<Record<CaName, TasksOf>> = {
  kubernetes: { trust: trustTasks, switch: switchTasks, finish: finishTasks, abort: abortTasks },
  'front-proxy': {
    trust: trustFrontProxyTasks,
    switch: switchFrontProxyTasks,
    finish: finishFrontProxyTasks,
    abort: abortFrontProxyTasks,
  },
  etcd: {
    trust: etcdTrustTasks,
    switch: etcdSwitchTasks,
    finish: etcdFinishTasks,
    abort: etcdAbortTasks,
  },
};

const externalEtcdTasks: Omit<TasksOf, 'abort'> = {
  trust: externalTrustTasks,
  switch: externalSwitchTasks,
  finish: externalFinishTasks,
};

function tasksFor(step: AnyNodeStepName, context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  const isExternal = step !== 'abort' && hasExternalEtcd(node);
  return (isExternal ? externalEtcdTasks[step] : tasksOf[node.ca][step])(context);
}

async function lastTasks(
  step: AnyNodeStepName,
  latest: Stage,
  context: CheckContext,
): Promise<FileTask[]> {
  if (step === 'finish') return [await removalTask(context, removedFiles.finish)];
  if (step !== 'abort') return [];
  if (latest !== 'switch') return [await removalTask(context, removedFiles.abort)];
  // Only certificates of the CA `kubernetes` are also outside of the control plane.
  return context.node.ca === 'kubernetes' ? [] : [await removalTask(context, ['previous'])];
}

async function obstaclesTo(
  step: AnyNodeStepName,
  latest: Stage,
  context: CheckContext,
): Promise<GateReason[]> {
  const foreign = context.node.ca === 'etcd' ? await etcdObstacles(context.node) : [];
  if (foreign.length > 0) return foreign;
  switch (step) {
    case 'trust':
      return order[latest] > order.trust ? [tooLate(step, latest, context)] : [];
    case 'switch': {
      // etcd reads CA files only when it starts, so `switch` cannot return from `finish`.
      if (context.node.ca === 'etcd' && latest === 'finish') {
        return [tooLate(step, latest, context)];
      }
      if (isEnded(context)) return [tooLate(step, latest, context)];
      const bridge = missingBridge(context);
      return [
        ...(await unlessComplete('trust', latest, context)),
        ...bridge,
        ...(await importObstacles(context)),
      ];
    }
    case 'finish':
      return [
        ...(await unlessComplete('switch', latest, context)),
        ...(context.keepsAbsentNodes === true ? withoutReturnOfNodes(context) : []),
      ];
    case 'abort':
      if (hasExternalEtcd(context.node)) return [withoutAbort(latest)];
      return latest === 'finish' ? [withoutReturn(context)] : [];
    default:
      return step satisfies never;
  }
}

function tooLate(step: AnyNodeStepName, latest: Stage, { node: { ca } }: CheckContext): GateReason {
  return {
    state: 'waiting',
    message: `the step ${latest} has begun on this node, and ${step} would undo a part of it`,
    remedy: `Continue with: ${applyCommand(latest, ca)}`,
  };
}

function withoutReturn({ node }: CheckContext): GateReason {
  return {
    state: 'waiting',
    message: `${caPath(node, 'trusted')} no longer has the old CA, so certificates from it are rejected`,
    remedy: rolloverBack(node.ca),
  };
}

/** With external etcd, no key on this node can issue a certificate from the old CA. */
function withoutAbort(latest: Stage): GateReason {
  return {
    state: 'waiting',
    message: 'abort does not support external etcd',
    remedy: `Undo the step instead: ${applyCommand(latest, 'etcd')} --undo; without its copies, restore etcd/ca.crt and apiserver-etcd-client.* from a backup, and restart kube-apiserver`,
  };
}

/** The previous step has to be complete, unless this step has begun: then this step repairs the files. */
async function unlessComplete(
  before: 'trust' | 'switch',
  latest: Stage,
  context: CheckContext,
): Promise<GateReason[]> {
  if (order[latest] > order[before]) return [];
  const remedy = `Run on this node: ${applyCommand(before, context.node.ca)}`;
  const message = `the step ${before} is not complete on this node`;
  if (order[latest] < order[before]) return [{ state: 'waiting', message, remedy }];
  const files = (await tasksFor(before, context)).flatMap((task) => task.files);
  if (files.length === 0) return [];
  const objects = files.map(({ path, content }) => `${path}: ${content}`);
  return [{ state: 'waiting', message, remedy, objects }];
}

/** `finish --keep-absent-nodes` is complete on this node. */
function isEnded({ node: { found } }: CheckContext): boolean {
  return found.clients !== undefined && found.next === undefined && found.previous === undefined;
}

/** Why a node that was absent all the time could not return. */
function withoutReturnOfNodes({ node }: CheckContext): GateReason[] {
  const own = caPath(node, 'trusted');
  const reasons: GateReason[] = [
    {
      state: 'waiting',
      message: 'this node has no bridge, so a node that trusts only the old CA cannot connect',
      remedy:
        'Omit --keep-absent-nodes; an absent node then returns with nodecertd discover and a bootstrap token',
    },
    {
      state: 'waiting',
      message: `--client-ca-file of kube-apiserver names ${clientsFileOf(node)}, and --keep-absent-nodes supports only ${own}`,
      remedy: `Let the flag name ${own}, or omit --keep-absent-nodes`,
    },
  ];
  const holds = [bridgeOf(node) === undefined, hasOwnClients(node)];
  return reasons.filter((_, at) => holds[at]);
}

/** Without the bridge, a client that does not trust the new CA yet cannot connect. */
function missingBridge({ node, clock }: CheckContext): GateReason[] {
  if (node.ca !== 'kubernetes') return [];
  const cannotExist = bridgeObstacle(node.old.certificate, clock.now()) !== undefined;
  if (cannotExist || bridgeOf(node) !== undefined) return [];
  const path = caPath(node, 'bridge');
  const found =
    node.found.bridge === undefined
      ? 'does not exist'
      : 'has no certificate from the old CA with the key of the new CA';
  return [
    {
      state: 'waiting',
      message: `${path} ${found}`,
      remedy: `Copy ${path} from the control-plane node that created the new CA`,
    },
  ];
}
