import { readCertificateFile } from '../../../pki/inventory/certificate-file.ts';
import type { Gate, GateReason } from '../../cluster/gate.ts';
import type { RolloverView } from '../../cluster/rollover.ts';
import { administratorObstacles } from '../administrator.ts';
import { applyCommand } from '../apply-command.ts';
import { clientAuthoritiesTask, configMapOfClients } from '../client-authorities-task.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import { readControlPlaneNodes, withOwn } from '../control-plane-nodes.ts';
import { reportTask } from '../new-authority-report.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath, readRolloverNode } from '../node-files.ts';
import type { ControlPlane } from '../node-order.ts';
import { nodesBehind } from '../node-order.ts';
import { planNodeStep } from '../node-step.ts';
import { obstaclesTo } from '../permission.ts';
import { latestStep } from '../stage.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import { isComplete } from '../step-plan.ts';
import { restartedComponents } from '../task-restart.ts';
import type { ClusterTask, Stage } from '../task.ts';
import { authoritiesOf, gatesOf, readControlPlane, viewOf } from './kubernetes.ts';
import { leftInCluster } from './removed-node.ts';
import { certificatesByNext, lostOld, returnTasks, waitForOld } from './rollover-undo.ts';
import type { GateOptions } from './step-cluster.ts';

const abort = applyCommand('abort', 'kubernetes');

/**
 * Plans one stage back on this node: after `switch`, the old CA issues again; before that, nothing of the
 * new CA stays.
 * @throws AgentError as planNodeStep, viewRollover and KubeClient.request
 */
export async function planAbortStep(request: StepRequest, options: GateOptions): Promise<StepPlan> {
  const { hostName, clock, version } = request;
  const { exceptNodes } = options.confirmed;
  const node = await readRolloverNode(request);
  if (node === undefined) return withoutFiles(request, options);
  const stage = await latestStep(node);
  const own = await planNodeStep('abort', { node, clock, version });
  const plane = await readControlPlane(request, options);
  const tasks = [
    ...own.tasks,
    ...(own.obstacles.length > 0 ? [] : await clusterTasks({ stage, node, plane }, request)),
    ...own.lastTasks,
    ...(stage === 'switch' ? [] : await reportTask(plane.own, { request, isChanged: true })),
  ];
  const common = {
    step: 'abort',
    nodeName: hostName,
    tasks,
    restarts: await restartedComponents(tasks, { clock }),
    gates: [],
    notes: notesOnAway(plane),
    commands: [],
  } as const;
  if (own.obstacles.length > 0) return { ...common, refusals: own.obstacles };
  if (isComplete(common)) return { ...common, refusals: [] };
  const view = await viewOf(node, request, { ...options, dial: false });
  const gates = stage === 'trust' ? await gatesBack(node, request, options) : [];
  return {
    ...common,
    gates,
    refusals: [
      ...(stage === 'switch' ? lostOld(node, view) : certificatesByNext(view)),
      ...(stage === 'switch' ? [] : administratorBack(node, request)),
      ...(await obstaclesTo({
        ...request,
        step: 'abort',
        others: plane.others,
        components: node.components,
        gates,
        isRepair: true,
        ...(exceptNodes && { exceptNodes }),
        onWait: options.onWait,
      })),
    ],
    commands: [
      ...(stage === 'switch' ? afterSwitch(view, plane) : afterTrust(plane)),
      ...plane.away.map(({ name }) => `${abort} # on ${name}, when it is back`),
    ],
  };
}

/** A crash may have come before the report of a node whose files are gone. */
async function withoutFiles(request: StepRequest, options: GateOptions): Promise<StepPlan> {
  const { client, signal, hostName } = request;
  const nodes = withOwn(await readControlPlaneNodes(client, signal), request);
  const path = caPath(request, 'trusted');
  const reading = readCertificateFile(path);
  const isLost = reading.kind === 'read' && reading.certificates.length > 1;
  const common = { step: 'abort', nodeName: hostName, restarts: [], gates: [] } as const;
  if (isLost) return { ...common, tasks: [], refusals: [lostNext(path)], notes: [], commands: [] };
  const { tasks, refusals, commands } = await leftInCluster(request, options, 'abort');
  return {
    ...common,
    refusals,
    tasks: [...tasks, ...(await reportTask(nodes.own, { request, isChanged: false }))],
    notes: ['This node has no files of a CA rollover.'],
    commands,
  };
}

function lostNext(path: string): GateReason {
  return {
    state: 'waiting',
    message: `${path} has several CAs, and this node has no file that shows which of them is the new one`,
    remedy: 'Copy ca-next.crt and ca-next.key from another control-plane node',
  };
}

interface AbortedNode {
  readonly stage: Stage;
  readonly node: RolloverNode;
  readonly plane: ControlPlane;
}

/** After `switch` both CAs stay in the objects of the cluster. */
async function clusterTasks(
  { stage, node, plane }: AbortedNode,
  request: StepRequest,
): Promise<ClusterTask[]> {
  const uploaded = await uploadedCertificatesTask(request);
  if (stage === 'switch') return uploaded;
  const { next } = authoritiesOf(node);
  const isLast = nodesBehind('finish', plane).length === 0;
  return [
    ...uploaded,
    ...(await returnTasks(node, { plane, request })),
    ...(isLast
      ? [await clientAuthoritiesTask(request, { old: next, clients: 'kubernetes', step: 'abort' })]
      : []),
  ];
}

/**
 * The gates of `finish`, as in a rollover from the new CA to the old one. Also a node that has not done the
 * step `switch` needs them: the new CA may have issued certificates through another node.
 */
async function gatesBack(
  { old, next, ...node }: RolloverNode,
  request: StepRequest,
  options: GateOptions,
): Promise<Gate[]> {
  const swappedNode = { ...node, old: next, next: old };
  const gates = await gatesOf('abort', { node: swappedNode, request, options });
  return gates.map((gate) => ({ ...gate, reasons: gate.reasons.map(withRealNames) }));
}

/** The kubeconfig of the administrator, as at the end of such a rollover. */
function administratorBack(node: RolloverNode, request: StepRequest): GateReason[] {
  const { client, directories } = request;
  const { old, next } = authoritiesOf(node);
  const reasons = administratorObstacles(client.access, { old: next, next: old }, directories);
  return reasons.map(withRealNames);
}

function withRealNames({ message, remedy, ...reason }: GateReason): GateReason {
  return {
    ...reason,
    message: swapped(message),
    ...(remedy !== undefined && { remedy: swapped(remedy) }),
  };
}

/** A node on which the old CA issues again is repaired with the step `trust`. */
function swapped(text: string): string {
  return text
    .replaceAll('the step switch', 'the step abort')
    .replaceAll(/\bthe (old|new) CA\b/g, (_, name) => `the ${name === 'old' ? 'new' : 'old'} CA`)
    .replaceAll(applyCommand('switch', 'kubernetes'), applyCommand('trust', 'kubernetes'));
}

function afterSwitch({ probes, authorities }: RolloverView, { others }: ControlPlane): string[] {
  const serving = probes.filter(({ served }) => served.issuedBy === 'next');
  const names = new Set(serving.map(({ server }) => server.name));
  const behind = others.filter(({ name }) => names.has(name));
  if (behind.length > 0) return behind.map(({ name }) => `${abort} # on ${name}`);
  return [
    'nodecertd renew kubelet-client # on one node: the agents follow the newest certificate of each signer',
    'nodecertd renew kubelet-server # on the same node',
    waitForOld(authorities),
    `${abort} # again, on each control-plane node`,
  ];
}

function afterTrust(plane: ControlPlane): string[] {
  const behind = new Set(nodesBehind('finish', plane));
  const left = plane.others.filter(
    ({ name, report }) => report?.next !== undefined || behind.has(name),
  );
  return left.map(({ name }) => `${abort} # on ${name}`);
}

function notesOnAway({ away }: ControlPlane): string[] {
  if (away.length === 0) return [];
  const names = away.map(({ name }) => name).join(', ');
  return [
    `The step does not wait for ${names}, which keeps its files. When it starts, its kube-apiserver adds the new CA to ${configMapOfClients} again, and its kube-controller-manager publishes and uses the new CA if it becomes the leader.`,
  ];
}
