import { readAggregatedApis } from '../../../kube/aggregated-apis.ts';
import type { GateReason } from '../../cluster/gate.ts';
import { applyCommand } from '../apply-command.ts';
import type { Aggregation } from '../check.ts';
import { clientAuthoritiesTask } from '../client-authorities-task.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
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
import { reportedCount } from '../new-authority-report.ts';
import { readRolloverNode } from '../node-files.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { authoritiesOf } from './kubernetes.ts';
import type { GateOptions, Judgement, StepCluster, StepClusterQuestion } from './step-cluster.ts';

interface FrontProxyStep {
  readonly step: NodeStepName;
  readonly facts: FrontProxyFacts;
  readonly question: FrontProxyQuestion;
}

/**
 * The part of the cluster in a step of the CA `front-proxy`.
 * @throws AgentError KEY_UNSUPPORTED; as KubeClient.request
 */
export async function frontProxyCluster(asked: StepClusterQuestion): Promise<StepCluster> {
  const part = await readStep(asked);
  return {
    tasks: await clusterTasks(part, asked),
    nodes: part.facts,
    notes: [],
    commands: nodesBehind(part).map(
      (name) => `${applyCommand(part.step, 'front-proxy')} # on ${name}`,
    ),
    judge: async () => judge(part),
  };
}

async function readStep({
  step,
  node,
  request,
  options: { confirmed },
}: StepClusterQuestion): Promise<FrontProxyStep> {
  const facts = await readFrontProxyFacts({ node, clock: request.clock }, request);
  const except = confirmed.exceptNodes ?? new Set();
  return { step, facts, question: { authorities: authoritiesOf(node), except } };
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
      return others.filter((server) => trustsOld(server, facts)).map(({ name }) => name);
    default:
      return step satisfies never;
  }
}

/** Without the key of the old CA, only the report of the node shows it. */
function trustsOld(
  { name, old }: FrontProxyFacts['servers'][number],
  { others }: FrontProxyFacts,
): boolean {
  if (old.kind !== 'no-key') return old.kind === 'accepted';
  const report = others.find((other) => other.name === name)?.report;
  return report !== undefined && reportedCount(report, 'front-proxy') > 1;
}

function judge({ step, facts, question }: FrontProxyStep): Judgement {
  const reasons = [
    ...(step === 'trust' ? [] : rejectionsOf('next', facts, question)),
    ...(step === 'finish' ? [...unanswered(facts, question), ...oldProxies(facts, question)] : []),
  ];
  return { gates: [], reasons };
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
  const { facts, question } = await readStep({ step, node, request, options });
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
