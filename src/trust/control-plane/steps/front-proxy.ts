import { readAggregatedApis } from '../../../kube/aggregated-apis.ts';
import type { GateReason, RolloverSide } from '../../cluster/gate.ts';
import { applyOn } from '../apply-command.ts';
import type { Aggregation } from '../check.ts';
import { clientAuthoritiesTask } from '../client-authorities-task.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import type { ControlPlaneNode } from '../control-plane-nodes.ts';
import type { FrontProxyFacts } from '../front-proxy-facts.ts';
import { readFrontProxyFacts } from '../front-proxy-facts.ts';
import type { FrontProxyQuestion } from '../front-proxy-gate.ts';
import {
  nextProxies,
  oldProxies,
  rejectionsOf,
  unanswered,
  withoutNext,
} from '../front-proxy-gate.ts';
import { readLeaf } from '../leaf.ts';
import { reportedCount, unknownIssuerTask } from '../new-authority-report.ts';
import { readRolloverNode } from '../node-files.ts';
import { exceptedNotes } from '../node-order.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { authoritiesOf } from './kubernetes.ts';
import type { GateOptions, Judgement, StepCluster, StepClusterQuestion } from './step-cluster.ts';

/** What the servers trust now. */
export interface FrontProxyView {
  readonly facts: FrontProxyFacts;
  readonly question: FrontProxyQuestion;
}

interface FrontProxyStep extends FrontProxyView {
  readonly step: NodeStepName;
}

/**
 * The part of the cluster in a step of the CA `front-proxy`.
 * @throws AgentError KEY_UNSUPPORTED; as KubeClient.request
 */
export async function frontProxyCluster(asked: StepClusterQuestion): Promise<StepCluster> {
  const part = { step: asked.step, ...(await viewFrontProxies(asked)) };
  return {
    ...(asked.step === 'switch' && {
      firstTasks: await unknownIssuer('next', asked, part.facts.own),
    }),
    tasks: await clusterTasks(part, asked),
    nodes: part.facts,
    notes: asked.step === 'finish' ? exceptedNotes(nodesBehind(part), part.question.except) : [],
    judge: async () => judge(part),
  };
}

/**
 * Reports the issuer as unknown before the step replaces `front-proxy-client` by a certificate from this CA.
 * @throws AgentError as readLeaf
 */
export async function unknownIssuer(
  by: RolloverSide,
  { node, request }: Pick<StepClusterQuestion, 'node' | 'request'>,
  own: ControlPlaneNode | undefined,
): Promise<ClusterTask[]> {
  const isDone = (await readLeaf(node, 'front-proxy-client'))?.by === by;
  return unknownIssuerTask(own, { request, isDone });
}

/** @throws AgentError KEY_UNSUPPORTED; as KubeClient.request */
export async function viewFrontProxies({
  node,
  request,
  options: { confirmed },
}: Pick<StepClusterQuestion, 'node' | 'request' | 'options'>): Promise<FrontProxyView> {
  const facts = await readFrontProxyFacts({ node, clock: request.clock }, request);
  const except = confirmed.exceptNodes ?? new Set();
  return { facts, question: { authorities: authoritiesOf(node), except } };
}

/** The APIs that answer through kube-apiserver of this node before a step, and have to after it. */
export async function aggregationBefore({
  request: { client, signal },
  options: { confirmed },
}: Pick<StepClusterQuestion, 'request' | 'options'>): Promise<Aggregation> {
  const apis = await readAggregatedApis(client, signal);
  const isUsed = ({ name, unavailable }: (typeof apis)[number]): boolean =>
    unavailable === undefined && confirmed.exceptNodes?.has(name) !== true;
  return { access: client.access, apis: apis.filter(isUsed) };
}

/**
 * API servers add their CAs to the ConfigMap, and remove none. Once the last API server has dropped the
 * old CA, the ConfigMap has to be created again.
 */
async function clusterTasks(
  part: FrontProxyStep,
  { request }: StepClusterQuestion,
): Promise<ClusterTask[]> {
  const uploaded = await uploadedCertificatesTask(request);
  if (part.step !== 'finish' || nodesBehind(part).length > 0) return uploaded;
  const { old } = part.question.authorities;
  return [...uploaded, await clientAuthoritiesTask(request, { old, clients: 'front-proxy' })];
}

/** The other nodes on which the step is not done. */
function nodesBehind({ step, facts, question }: FrontProxyStep): string[] {
  const { except } = question;
  const others = facts.servers.filter(({ name, isOwn }) => !isOwn && !except.has(name));
  switch (step) {
    case 'trust':
      return others.filter(({ next }) => next.kind !== 'accepted').map(({ name }) => name);
    case 'switch':
      return withoutNext(facts, question).map(({ name }) => name);
    case 'finish':
      return trusting('old', { facts, question });
    default:
      return step satisfies never;
  }
}

/**
 * The other nodes whose kube-apiserver trusts this CA, and adds it to the ConfigMap again. A node of `--except`
 * counts only if it accepts a certificate, because then it is not off.
 */
export function trusting(side: RolloverSide, { facts, question }: FrontProxyView): string[] {
  return facts.servers
    .filter(({ isOwn }) => !isOwn)
    .filter((server) =>
      question.except.has(server.name)
        ? server[side].kind === 'accepted'
        : trusts(side, server, facts),
    )
    .map(({ name }) => name);
}

/** Without the key of the CA, only the report of the node shows it. */
function trusts(
  side: RolloverSide,
  { name, [side]: result }: FrontProxyFacts['servers'][number],
  { others }: FrontProxyFacts,
): boolean {
  if (result.kind !== 'no-key') return result.kind === 'accepted';
  const report = others.find((other) => other.name === name)?.report;
  return report !== undefined && reportedCount(report, 'front-proxy') > 1;
}

function judge(part: FrontProxyStep): Judgement {
  const { step, facts, question } = part;
  const reasons = [
    ...(step === 'trust' ? [] : rejectionsOf('next', facts, question)),
    ...(step === 'finish'
      ? [...unanswered('old', facts, question), ...oldProxies(facts, question)]
      : []),
  ];
  return { gates: [], reasons, commands: applyOn(nodesBehind(part), step, 'front-proxy') };
}

/**
 * Why a step of the CA `front-proxy` must not be undone on this node now: a server would reject a
 * certificate that a kube-apiserver uses after the undo.
 * @throws AgentError as readRolloverNode and readFrontProxyFacts
 */
export async function frontProxyUndoRefusals(
  step: NodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<GateReason[]> {
  const node = await readRolloverNode(request);
  // After `finish` the node has no files of the rollover, and the copies have them.
  if (node === undefined) return [];
  const { facts, question } = await viewFrontProxies({ node, request, options });
  switch (step) {
    case 'trust':
      return nextProxies(
        facts,
        question,
        (await readLeaf(node, 'front-proxy-client'))?.by === 'next',
      );
    case 'switch':
      return rejectionsOf('old', facts, question);
    case 'finish':
      return [];
    default:
      return step satisfies never;
  }
}
