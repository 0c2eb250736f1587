import { shortFingerprint } from '../../../core/trust.ts';
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
import { reportedCount, reportTask } from '../new-authority-report.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepPlan } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { authoritiesOf } from './kubernetes.ts';
import type { Judgement, StepCluster, StepClusterQuestion } from './step-cluster.ts';

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
  const { node, request } = asked;
  const part = await readStep(asked);
  return {
    tasks: await clusterTasks(part, asked),
    lastTasks: reportTask(part.facts.own, { request, isDone: isReported(part) }),
    others: part.facts.others,
    notes: [],
    commands: nodesBehind(part).map((name) => `${applyCommand(part.step, node.ca)} # on ${name}`),
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

/** The other nodes learn from the report which CA has issued the certificate of this kube-apiserver. */
function isReported({ step, facts: { own }, question: { authorities } }: FrontProxyStep): boolean {
  const report = own?.report;
  const isByNext = report?.frontProxyClient === shortFingerprint(authorities.next.fingerprint);
  const count = step === 'finish' ? 1 : 2;
  return report?.frontProxyAuthorities === count && isByNext === (step !== 'trust');
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
 * Plans the return from a step of the CA `front-proxy`: why it must not happen. The files come from the
 * copies of the step.
 * @throws AgentError as readFrontProxyFacts
 */
export async function planFrontProxyUndo(asked: StepClusterQuestion): Promise<StepPlan> {
  const { step, request } = asked;
  const part = await readStep(asked);
  return {
    step,
    nodeName: request.hostName,
    tasks: reportTask(part.facts.own, { request, isDone: false }),
    restarts: [],
    gates: [],
    refusals: await undoRefusals(part, asked),
    notes: [],
    commands: [],
  };
}

/** Servers would reject a certificate that a kube-apiserver uses after the undo. */
async function undoRefusals(
  { step, facts, question }: FrontProxyStep,
  { node }: StepClusterQuestion,
): Promise<GateReason[]> {
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
