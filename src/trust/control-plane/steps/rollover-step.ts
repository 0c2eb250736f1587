import { readAuthority } from '../../../kube/authorities.ts';
import { readCertificateFile } from '../../../pki/inventory/certificate-file.ts';
import type { GateReason } from '../../cluster/gate.ts';
import { applyCommand } from '../apply-command.ts';
import type { ControlPlaneNodes } from '../control-plane-nodes.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import { reportTask } from '../new-authority-report.ts';
import { nextPathsInWords } from '../next-authority.ts';
import type { CaPlaces, RolloverNode } from '../node-files.ts';
import { caPath, readRolloverNode } from '../node-files.ts';
import type { AnyNodeStepName, NodeStep } from '../node-step.ts';
import { planNodeStep } from '../node-step.ts';
import { obstaclesTo } from '../permission.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import { isComplete } from '../step-plan.ts';
import { restartedComponents } from '../task-restart.ts';
import type { CaName, ClusterTask, StepTask } from '../task.ts';
import { aggregationBefore, frontProxyCluster } from './front-proxy.ts';
import { hasExternalEtcd } from '../etcd/support.ts';
import { etcdAbort } from './etcd-abort.ts';
import { etcdCluster } from './etcd.ts';
import { externalEtcdCluster } from './external-etcd.ts';
import { frontProxyAbort } from './front-proxy-abort.ts';
import { kubernetesAbort } from './kubernetes-abort.ts';
import { kubernetesCluster } from './kubernetes.ts';
import { leftByFrontProxies, leftInCluster } from './removed-node.ts';
import type {
  AbortQuestion,
  GateOptions,
  Judgement,
  StepCluster,
  StepClusterQuestion,
} from './step-cluster.ts';

/**
 * Plans `trust`, `switch`, `finish` or `abort` on this node: its files, the objects of the cluster, and why
 * the step may not begin.
 * @throws AgentError as planNodeStep and KubeClient.request; USAGE, CONFIG_INVALID
 */
export async function planRolloverStep(
  step: AnyNodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<StepPlan> {
  const { hostName, clock, version, importFrom } = request;
  const node = await readRolloverNode(request);
  if (node === undefined) return withoutFiles(step, request, options);
  const aggregation =
    node.ca === 'front-proxy' && (step === 'switch' || step === 'abort')
      ? await aggregationBefore({ request, options })
      : undefined;
  const { keepsAbsentNodes = false } = options;
  const context = {
    node,
    clock,
    version,
    keepsAbsentNodes,
    ...(importFrom !== undefined && { importFrom }),
    ...(aggregation && { aggregation }),
  };
  const own = await planNodeStep(step, context);
  const common = { step, nodeName: hostName, gates: [], refusals: [], notes: [], commands: [] };
  if (own.obstacles.length > 0) {
    const refusals = [...own.harm, ...own.obstacles];
    return { ...common, tasks: [], restarts: [], refusals };
  }
  const { isRepair, latest } = own;
  const question = { node, request, options };
  const clusterOf = hasExternalEtcd(node) ? externalEtcdCluster : clusters[node.ca];
  const cluster =
    step === 'abort'
      ? await abortClusters[node.ca]({ ...question, latest })
      : await clusterOf({ ...question, step, isRepair });
  const first = cluster.firstTasks ?? [];
  const planned = [...first, ...own.tasks, ...cluster.tasks, ...own.lastTasks];
  const tasks = [...planned, ...(await reported(step, { planned, ...cluster.nodes, request }))];
  const changes = { ...common, tasks, restarts: await restartedComponents(tasks, { clock }) };
  if (isComplete(changes)) return changes;
  const judgement = await cluster.judge(changes.restarts);
  return {
    ...changes,
    gates: judgement.gates,
    refusals: await refusals({ step, own, judgement, node, cluster }, request, options),
    notes: [...own.notes, ...cluster.notes],
    commands: judgement.commands,
  };
}

/**
 * The agents report the CA `kubernetes`, which the gates need. The other CAs need no agent, so each step
 * reports them. `abort` reports each CA, as `create` does. A repeated step also replaces a report from
 * before an interruption.
 */
async function reported(
  step: AnyNodeStepName,
  {
    planned,
    own,
    request,
  }: Pick<ControlPlaneNodes, 'own'> & {
    readonly planned: readonly StepTask[];
    readonly request: StepRequest;
  },
): Promise<ClusterTask[]> {
  if (request.ca === 'kubernetes' && step !== 'abort') return [];
  const isChanged = planned.some((task) => task.kind === 'files' && task.files.length > 0);
  return reportTask(own, { request, isChanged });
}

/** The CA of etcd is in no object. */
const leftInObjects: Partial<Record<CaName, typeof leftByFrontProxies>> = {
  kubernetes: leftInCluster,
  'front-proxy': leftByFrontProxies,
};

async function withoutFiles(
  step: AnyNodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<StepPlan> {
  const { ca, hostName } = request;
  const common = { step, nodeName: hostName, tasks: [], restarts: [], gates: [], commands: [] };
  if (step === 'abort' && hasSeveral(request)) {
    return { ...common, refusals: [lostNext(request)], notes: [] };
  }
  if (step === 'finish' || step === 'abort') {
    const notes = ['This node has no files of a CA rollover.'];
    const left = await leftInObjects[ca]?.(request, options, step);
    const nodes = await readNodesWithOwn(request);
    const report = await reported(step, { planned: [], ...nodes, request });
    return { ...common, refusals: [], notes, ...left, tasks: [...(left?.tasks ?? []), ...report] };
  }
  const missing: GateReason = {
    state: 'waiting',
    message: `${caPath(request, 'next')} does not exist, so this node does not know the new CA`,
    remedy: `Run on one control-plane node: ${applyCommand('create', ca)}; then copy its files to this node`,
  };
  return { ...common, refusals: [missing], notes: [] };
}

function hasSeveral(places: CaPlaces): boolean {
  const reading = readCertificateFile(caPath(places, 'trusted'));
  return reading.kind === 'read' && reading.certificates.length > 1;
}

function lostNext(places: CaPlaces): GateReason {
  return {
    state: 'waiting',
    message: `${caPath(places, 'trusted')} has several CAs, and this node has no file that shows which of them is the new one`,
    remedy: `Copy ${nextPathsInWords(places)} from another control-plane node`,
  };
}

const clusters: Record<CaName, (question: StepClusterQuestion) => Promise<StepCluster>> = {
  kubernetes: kubernetesCluster,
  'front-proxy': frontProxyCluster,
  etcd: etcdCluster,
};

const abortClusters: Record<CaName, (question: AbortQuestion) => Promise<StepCluster>> = {
  kubernetes: kubernetesAbort,
  'front-proxy': frontProxyAbort,
  etcd: etcdAbort,
};

/**
 * A repair of `switch` does not wait for its gates: the file that it repairs may keep them closed. Harm
 * of another step has to be repaired first.
 */
async function refusals(
  {
    step,
    own: { harm, isRepair },
    judgement: { gates, reasons },
    node: { components, next },
    cluster: {
      nodes: { others },
    },
  }: {
    readonly step: AnyNodeStepName;
    readonly own: NodeStep;
    readonly judgement: Judgement;
    readonly node: RolloverNode;
    readonly cluster: StepCluster;
  },
  request: StepRequest,
  { onWait, confirmed: { exceptNodes } }: GateOptions,
): Promise<GateReason[]> {
  const isNeeded = step !== 'switch' || !isRepair;
  const found = await obstaclesTo({
    ...request,
    step,
    next: readAuthority(next.certificate.der),
    others,
    components,
    gates: isNeeded ? gates : [],
    isRepair,
    ...(exceptNodes && { exceptNodes }),
    onWait,
  });
  return [...(isRepair ? [] : harm), ...(isNeeded ? reasons : []), ...found];
}
