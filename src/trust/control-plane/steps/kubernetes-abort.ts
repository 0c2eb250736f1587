import type { Gate, GateReason, RolloverSide } from '../../cluster/gate.ts';
import type { RolloverView } from '../../cluster/rollover.ts';
import { administratorObstacles } from '../administrator.ts';
import { applyCommand, applyOn } from '../apply-command.ts';
import { clientAuthoritiesTask, configMapOfClients } from '../client-authorities-task.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import type { ControlPlane } from '../node-order.ts';
import { exceptedNotes, nodesBehind } from '../node-order.ts';
import type { ClusterTask } from '../task.ts';
import { authoritiesOf, readControlPlane, viewBefore, viewOf } from './kubernetes.ts';
import { certificatesByNext, lostOld, returnTasks, waitForOld } from './rollover-undo.ts';
import type { AbortQuestion, Judgement, StepCluster } from './step-cluster.ts';

const abort = applyCommand('abort', 'kubernetes');

/**
 * The part of the cluster in the step `abort` of the CA `kubernetes`.
 * @throws AgentError as KubeClient.request
 */
export async function kubernetesAbort(question: AbortQuestion): Promise<StepCluster> {
  const { request, options } = question;
  const plane = await readControlPlane(request, options);
  return {
    tasks: await clusterTasks(question, plane),
    nodes: plane,
    notes: [
      ...notesOnAway(plane),
      ...(question.latest === 'switch'
        ? []
        : exceptedNotes(nodesBehind('finish', plane), options.confirmed.exceptNodes)),
    ],
    judge: async () => {
      const { commands, ...judgement } = await judge(question, plane);
      const away = plane.away.map(({ name }) => `${abort} # on ${name}, when it is back`);
      return { ...judgement, commands: [...commands, ...away] };
    },
  };
}

/** After `switch` both CAs stay in the objects of the cluster. */
async function clusterTasks(
  { latest, node, request }: AbortQuestion,
  plane: ControlPlane,
): Promise<ClusterTask[]> {
  const uploaded = await uploadedCertificatesTask(request);
  if (latest === 'switch') return uploaded;
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

async function judge(question: AbortQuestion, plane: ControlPlane): Promise<Judgement> {
  const { latest, node, request, options } = question;
  if (latest === 'trust') return judgeTrusted(question, plane);
  const view = await viewOf(node, request, { ...options, dial: false });
  if (latest === 'switch') {
    return { gates: [], reasons: lostOld(node, view), commands: afterSwitch(view, plane) };
  }
  const reasons = [...certificatesByNext(view), ...administratorBack(question)];
  return { gates: [], reasons, commands: afterTrust(plane) };
}

/**
 * The gates of `finish`, as in a rollover from the new CA to the old one. Also a node that has not done the
 * step `switch` needs them: the new CA may have issued certificates through another node.
 */
async function judgeTrusted(question: AbortQuestion, plane: ControlPlane): Promise<Judgement> {
  const { old, next, ...node } = question.node;
  const view = await viewBefore('abort', { ...question, node: { ...node, old: next, next: old } });
  return {
    gates: view.gates.map((gate): Gate => ({ ...gate, reasons: gate.reasons.map(withRealNames) })),
    reasons: [...certificatesByNext(view, swappedNext), ...administratorBack(question)],
    commands: afterTrust(plane),
  };
}

/** The side of the new CA in such a view. */
const swappedNext: RolloverSide = 'old';

/** The kubeconfig of the administrator, as at the end of such a rollover. */
function administratorBack({ node, request }: AbortQuestion): GateReason[] {
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

function afterSwitch(
  { probes, authorities: { old, next } }: RolloverView,
  { others }: ControlPlane,
): string[] {
  const serving = probes.filter(({ served }) => served.issuedBy === 'next');
  const names = new Set(serving.map(({ server }) => server.name));
  const behind = others.filter(({ name }) => names.has(name));
  if (behind.length > 0) return abortOn(behind);
  return [
    'nodecertd renew kubelet-client # on one node: the agents follow the newest certificate of each signer',
    'nodecertd renew kubelet-server # on the same node',
    ...(next === undefined ? [] : [waitForOld({ old, next })]),
    `${abort} # again, on each control-plane node, with the same option`,
  ];
}

function afterTrust(plane: ControlPlane): string[] {
  const behind = new Set(nodesBehind('finish', plane));
  return abortOn(
    plane.others.filter(({ name, report }) => report?.next !== undefined || behind.has(name)),
  );
}

function abortOn(nodes: readonly { readonly name: string }[]): string[] {
  return applyOn(
    nodes.map(({ name }) => name),
    'abort',
    'kubernetes',
  );
}

function notesOnAway({ away }: ControlPlane): string[] {
  if (away.length === 0) return [];
  const names = away.map(({ name }) => name).join(', ');
  return [
    `The step does not wait for ${names}, which keeps its files. When it starts, its kube-apiserver adds the new CA to ${configMapOfClients} again, and its kube-controller-manager publishes and uses the new CA if it becomes the leader.`,
  ];
}
