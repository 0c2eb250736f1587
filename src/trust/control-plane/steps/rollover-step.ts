import { join } from 'node:path';
import { readAuthority } from '../../../kube/authorities.ts';
import type { KubernetesDirectories } from '../../../pki/layout.ts';
import type { Gate, GateReason, RolloverAuthorities } from '../../cluster/gate.ts';
import { gatesBefore } from '../../cluster/gate.ts';
import { leadingNode } from '../../cluster/plan-facts.ts';
import type { RolloverQuestion, RolloverView } from '../../cluster/rollover.ts';
import { viewRollover } from '../../cluster/rollover.ts';
import { administratorObstacles } from '../administrator.ts';
import { applyCommand } from '../apply-command.ts';
import { clientAuthoritiesTask } from '../client-authorities-task.ts';
import type { ManagerFlags } from '../cluster-tasks.ts';
import {
  clusterInfoTask,
  removeManagerFlagsTask,
  setManagerFlagsTask,
  uploadedCertificatesTask,
} from '../cluster-tasks.ts';
import { readControlPlaneNodes, withOwn } from '../control-plane-nodes.ts';
import { flagsFor, rolloverFiles } from '../manager-manifest.ts';
import { readMirrorPods } from '../mirror-pods.ts';
import type { RolloverNode } from '../node-files.ts';
import { bridgeOf, readRolloverNode } from '../node-files.ts';
import type { ControlPlane } from '../node-order.ts';
import { earlyLeader, nodesBehind } from '../node-order.ts';
import type { NodeStep, NodeStepName } from '../node-step.ts';
import { planNodeStep } from '../node-step.ts';
import { obstaclesTo } from '../permission.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import { isComplete } from '../step-plan.ts';
import { restartedComponents } from '../task-restart.ts';
import type { ClusterTask } from '../task.ts';

/** How the gates are judged, as in `ca-rollover status`. */
export interface GateOptions extends Pick<
  RolloverQuestion,
  'keyFiles' | 'confirmed' | 'dial' | 'auditLogs' | 'onStep'
> {
  /** Called with what the step waits for. */
  readonly onWait: (what: string) => void;
}

/**
 * Plans `trust`, `switch` or `finish` on this node: its files, the objects of the cluster, and why
 * the step may not begin.
 * @throws AgentError as planNodeStep and KubeClient.request; USAGE, CONFIG_INVALID
 */
export async function planRolloverStep(
  step: NodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<StepPlan> {
  const { hostName, clock, version } = request;
  const node = await readRolloverNode(request);
  if (node === undefined) return withoutFiles(step, request);
  const own = await planNodeStep(step, { node, clock, version });
  const plane = await readControlPlane(request, options);
  const cluster =
    own.obstacles.length > 0 ? [] : await clusterTasks({ step, node, plane }, request);
  const tasks = [...own.tasks, ...cluster, ...own.lastTasks];
  const common = {
    step,
    nodeName: hostName,
    tasks,
    restarts: await restartedComponents(tasks, { clock }),
    gates: [],
    refusals: [],
    notes: [],
    commands: [],
  };
  if (own.obstacles.length === 0 && isComplete(common)) return common;
  const gates = await judge(step, { node, request, options });
  return {
    ...common,
    gates,
    refusals: await refusals({ step, own, gates, node, plane }, request, options),
    notes: [...own.notes, ...notesOn(step, plane)],
    commands: commandsAfter(step, plane),
  };
}

function withoutFiles(step: NodeStepName, { hostName, directories }: StepRequest): StepPlan {
  const common = { step, nodeName: hostName, tasks: [], restarts: [], gates: [], commands: [] };
  if (step === 'finish') {
    const notes = ['This node has no files of a CA rollover.'];
    return { ...common, refusals: [], notes };
  }
  const path = join(directories.certificates, 'ca-next.crt');
  const missing: GateReason = {
    state: 'waiting',
    message: `${path} does not exist, so this node does not know the new CA`,
    remedy: `Run on one control-plane node: ${applyCommand('create')}; then copy its files to this node`,
  };
  return { ...common, refusals: [missing], notes: [] };
}

/**
 * What the cluster knows of the nodes, without those that are excepted: the step does not wait for them.
 * @throws AgentError as KubeClient.request
 */
export async function readControlPlane(
  request: StepRequest,
  { confirmed: { exceptNodes } }: Pick<GateOptions, 'confirmed'>,
): Promise<ControlPlane> {
  const { client, signal, hostName, directories } = request;
  const all = await readControlPlaneNodes(client, signal);
  const nodes = all.filter(({ name }) => exceptNodes?.has(name) !== true);
  return {
    others: withOwn(nodes, request).others,
    pods: await readMirrorPods(client, signal),
    isLeader: (await leadingNode(client, signal)) === hostName,
    flags: rolloverFlags(directories),
  };
}

function rolloverFlags({ certificates }: KubernetesDirectories): ManagerFlags {
  const files = Object.entries(flagsFor(rolloverFiles));
  return new Map(files.map(([flag, name]) => [flag, join(certificates, name)]));
}

interface ClusterStep {
  readonly step: NodeStepName;
  readonly node: RolloverNode;
  readonly plane: ControlPlane;
}

/**
 * Each step makes the uploaded CA files outdated. The first node that needs it writes cluster-info.
 * kubeadm-config changes on the last node, because `kubeadm upgrade` on a node that has not done the
 * step would write flags that do not fit its files.
 */
async function clusterTasks(
  { step, node, plane }: ClusterStep,
  request: StepRequest,
): Promise<ClusterTask[]> {
  const uploaded = await uploadedCertificatesTask(request);
  if (step === 'switch') return uploaded;
  const authorities = authoritiesOf(node);
  const isLast = nodesBehind(step, plane).length === 0;
  return [
    ...uploaded,
    ...(await clusterInfoTask(request, authorities, step === 'trust' ? 'both' : 'next')),
    ...(isLast ? await lastTasks({ step, node, plane }, request) : []),
  ];
}

async function lastTasks(
  { step, node, plane: { flags } }: ClusterStep,
  request: StepRequest,
): Promise<ClusterTask[]> {
  if (step === 'trust') return [await setManagerFlagsTask(request, flags)];
  return [
    await removeManagerFlagsTask(request, flags),
    await clientAuthoritiesTask(request, authoritiesOf(node)),
  ];
}

export function authoritiesOf({ old, next }: RolloverNode): Required<RolloverAuthorities> {
  return { old: readAuthority(old.certificate.der), next: readAuthority(next.certificate.der) };
}

interface Judged {
  readonly node: RolloverNode;
  readonly request: StepRequest;
  readonly options: GateOptions;
}

/** The gates that the step needs. */
async function judge(
  step: NodeStepName,
  { node, request, options }: Judged,
): Promise<readonly Gate[]> {
  if (step === 'trust') return [];
  const needed: readonly string[] = gatesBefore[step];
  const { gates } = await viewOf(node, request, options);
  return gates.filter(({ id }) => needed.includes(id));
}

/** The cluster, with the CAs of this node's files. @throws AgentError as viewRollover */
export async function viewOf(
  node: RolloverNode,
  { client, directories, version, clock, signal }: StepRequest,
  options: GateOptions,
): Promise<RolloverView> {
  return viewRollover({
    ...options,
    // An API server that serves a certificate from the new CA sends the bridge too.
    confirmed: { ...options.confirmed, bridge: bridgeOf(node) !== undefined },
    access: client.access,
    directories,
    authorities: authoritiesOf(node),
    named: {},
    version,
    clock,
    signal,
  });
}

/**
 * A repair of `switch` does not wait for its gates: the file that it repairs may keep them closed. Harm
 * of another step has to be repaired first.
 */
async function refusals(
  {
    step,
    own: { obstacles, harm, isRepair },
    gates,
    node,
    plane: { others },
  }: {
    readonly step: NodeStepName;
    readonly own: NodeStep;
    readonly gates: readonly Gate[];
    readonly node: RolloverNode;
    readonly plane: ControlPlane;
  },
  request: StepRequest,
  { onWait, confirmed: { exceptNodes } }: GateOptions,
): Promise<GateReason[]> {
  if (obstacles.length > 0) return [...harm, ...obstacles];
  const { client, directories } = request;
  const authorities = authoritiesOf(node);
  const isNeeded = step === 'finish' || !isRepair;
  const found = await obstaclesTo({
    ...request,
    step,
    next: authorities.next,
    others,
    components: node.components,
    gates: isNeeded ? gates : [],
    isRepair,
    ...(exceptNodes && { exceptNodes }),
    onWait,
  });
  const administrator =
    step === 'finish' ? administratorObstacles(client.access, authorities, directories) : [];
  return [...(isRepair ? [] : harm), ...administrator, ...found];
}

function notesOn(step: NodeStepName, plane: ControlPlane): string[] {
  const note = step === 'switch' ? undefined : earlyLeader(step, plane);
  return note === undefined ? [] : [note];
}

/** The step on the other nodes, and after the last node the wait for the next step. */
function commandsAfter(step: NodeStepName, plane: ControlPlane): string[] {
  if (step === 'switch') return [];
  const behind = nodesBehind(step, plane);
  if (behind.length > 0) return behind.map((node) => `${applyCommand(step)} # on ${node}`);
  return step === 'trust' ? ['nodecertd ca-rollover wait --for union'] : [];
}
