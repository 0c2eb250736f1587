import { readAuthority } from '../../../kube/authorities.ts';
import type { GateReason, RolloverAuthorities } from '../../cluster/gate.ts';
import { gatesBefore } from '../../cluster/gate.ts';
import { returnCommand } from '../../cluster/plan-commands.ts';
import { leadingNode } from '../../cluster/plan-facts.ts';
import type { RolloverView } from '../../cluster/rollover.ts';
import { viewRollover } from '../../cluster/rollover.ts';
import { administratorObstacles } from '../administrator.ts';
import { applyCommand, applyOn } from '../apply-command.ts';
import { clientAuthoritiesTask } from '../client-authorities-task.ts';
import type { SectionFlags } from '../cluster-tasks.ts';
import {
  clusterInfoTask,
  removeFlagsTask,
  setFlagsTask,
  uploadedCertificatesTask,
} from '../cluster-tasks.ts';
import type { Section } from '../component-arguments.ts';
import { awaitedNodes, readNodesWithOwn } from '../control-plane-nodes.ts';
import { readMirrorPods } from '../mirror-pods.ts';
import type { RolloverNode } from '../node-files.ts';
import { bridgeOf } from '../node-files.ts';
import type { ControlPlane } from '../node-order.ts';
import { earlyLeader, exceptedNotes, nodesBehind, nodesWithoutOld } from '../node-order.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepFlags } from '../step-flags.ts';
import { managerFlags, rolloverFiles, serverFlags } from '../step-flags.ts';
import type { StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import type { GateOptions, StepCluster, StepClusterQuestion } from './step-cluster.ts';

/** The part of the cluster in a step of the CA `kubernetes`. @throws AgentError as KubeClient.request */
export async function kubernetesCluster(question: StepClusterQuestion): Promise<StepCluster> {
  const { step, node, request, options } = question;
  const plane = await readControlPlane(request, options);
  return {
    tasks: await clusterTasks({ step, node, plane }, request),
    nodes: plane,
    notes: notesOn(step, plane, options),
    judge: async () => ({
      gates: step === 'trust' ? [] : (await viewBefore(step, question)).gates,
      reasons: step === 'finish' ? reasonsAgainstFinish(question, plane) : [],
      commands: commandsAfter(step, plane),
    }),
  };
}

/** What the cluster knows of the nodes. @throws AgentError as KubeClient.request */
export async function readControlPlane(
  request: StepRequest,
  {
    confirmed: { exceptNodes },
    keepsAbsentNodes = false,
  }: Pick<GateOptions, 'confirmed' | 'keepsAbsentNodes'>,
): Promise<ControlPlane> {
  const { client, signal, hostName } = request;
  const { own, others } = await readNodesWithOwn(request);
  return {
    ...(own && { own }),
    ...awaitedNodes(others, exceptNodes),
    pods: await readMirrorPods(client, signal),
    isLeader: (await leadingNode(client, signal)) === hostName,
    managerFlags: inSection('controllerManager', managerFlags(rolloverFiles, request)),
    serverFlags: inSection('apiServer', serverFlags('clients', request)),
    keepsAbsentNodes,
  };
}

function inSection(section: Section, { wanted }: StepFlags): SectionFlags {
  return { section, flags: new Map(Object.entries(wanted)) };
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
    ...(step === 'finish' ? await endClients(plane, request) : []),
    ...(isLast ? await lastTasks({ step, node, plane }, request) : []),
  ];
}

async function lastTasks(
  {
    step,
    node,
    plane: { managerFlags: flags, serverFlags: clients, keepsAbsentNodes },
  }: ClusterStep,
  request: StepRequest,
): Promise<ClusterTask[]> {
  if (step === 'trust') return setFlagsTask(request, flags);
  return [
    ...(await removeFlagsTask(request, flags)),
    ...(keepsAbsentNodes
      ? await setFlagsTask(request, clients)
      : [await clientAuthoritiesTask(request, { ...authoritiesOf(node), clients: 'kubernetes' })]),
  ];
}

/**
 * Removes the flag of `finish --keep-absent-nodes` from kubeadm-config. This does not wait for the last
 * node: with the flag, `kubeadm upgrade` on a node that lacks its file would stop kube-apiserver there.
 */
export async function endClients(
  { serverFlags: flags, keepsAbsentNodes }: ControlPlane,
  request: StepRequest,
): Promise<ClusterTask[]> {
  if (keepsAbsentNodes) return [];
  return (await removeFlagsTask(request, flags)).filter(({ isDone }) => !isDone);
}

export function authoritiesOf({ old, next }: RolloverNode): Required<RolloverAuthorities> {
  return { old: readAuthority(old.certificate.der), next: readAuthority(next.certificate.der) };
}

function reasonsAgainstFinish(
  { node, request }: StepClusterQuestion,
  plane: ControlPlane,
): GateReason[] {
  const { client, directories } = request;
  return [
    ...administratorObstacles(client.access, authoritiesOf(node), directories),
    ...(plane.keepsAbsentNodes ? withoutAbsentNodes(plane) : []),
  ];
}

/** kubeadm-config has the flag for all nodes, and an absent node connects to any of them. */
function withoutAbsentNodes(plane: ControlPlane): GateReason[] {
  const objects = nodesWithoutOld(plane);
  if (objects.length === 0) return [];
  return [
    {
      state: 'waiting',
      message:
        'other control-plane nodes have done the step finish without --keep-absent-nodes, and reject certificates from the old CA',
      remedy: 'Omit --keep-absent-nodes',
      objects,
    },
  ];
}

/**
 * The cluster, with the gates that the step needs.
 * @param node for `abort`, with the old and the new CA swapped
 */
export async function viewBefore(
  step: keyof typeof gatesBefore,
  { node, request, options }: Pick<StepClusterQuestion, 'node' | 'request' | 'options'>,
): Promise<RolloverView> {
  const needed: readonly string[] = gatesBefore[step];
  // An API server that has finished rejects the old CA, so a step that continues finds leftovers.
  const confirmed = { ...options.confirmed, removesLeftovers: step !== 'switch' };
  const view = await viewOf(node, request, { ...options, confirmed });
  return { ...view, gates: view.gates.filter(({ id }) => needed.includes(id)) };
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

function notesOn(
  step: NodeStepName,
  plane: ControlPlane,
  { confirmed: { exceptNodes } }: Pick<GateOptions, 'confirmed'>,
): string[] {
  if (step === 'switch') return [];
  const note = earlyLeader(step, plane);
  return [
    ...(note === undefined ? [] : [note]),
    ...exceptedNotes(nodesBehind(step, plane), exceptNodes),
    ...(plane.keepsAbsentNodes ? [keptNote] : []),
  ];
}

const keptNote = `The API servers still accept certificates from the old CA. When the absent nodes are back, run on each control-plane node: ${applyCommand('finish', 'kubernetes')} --old-key destroy; name a node whose certificates have expired with --except`;

/** The step on the other nodes, and after the last node what comes next. */
function commandsAfter(step: NodeStepName, plane: ControlPlane): string[] {
  if (step === 'switch') return [];
  const behind = nodesBehind(step, plane);
  if (behind.length > 0) return applyOn(behind, step, 'kubernetes');
  return step === 'trust'
    ? ['nodecertd ca-rollover wait --for union']
    : plane.away.map(({ name }) => `${returnCommand(name)} # when ${name} is back`);
}
