import { isSameAuthority } from '../../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../../core/trust.ts';
import { readAuthority } from '../../../kube/authorities.ts';
import { fileIn } from '../../../pki/components/component-flags.ts';
import { findLocalNode } from '../../../pki/inventory/local-inventory.ts';
import { publishedAuthorities } from '../../cluster/authorities.ts';
import type { GateReason, RolloverAuthorities } from '../../cluster/gate.ts';
import { returnRemedy } from '../../cluster/gates/servers.ts';
import { Bundles } from '../../cluster/read/bundles.ts';
import { readRootCas, readTrustBundles } from '../../cluster/read/published.ts';
import { reading } from '../../cluster/read/reading.ts';
import { applyOn } from '../apply-command.ts';
import type { ClientKind } from '../client-authorities-task.ts';
import {
  clientAuthoritiesTask,
  clientKeys,
  publishedClientAuthorities,
} from '../client-authorities-task.ts';
import { clusterInfoTask, removeFlagsTask } from '../cluster-tasks.ts';
import { certificatesAt } from '../node-files.ts';
import type { ControlPlaneNode } from '../control-plane-nodes.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import { reportedCount } from '../new-authority-report.ts';
import type { ControlPlane } from '../node-order.ts';
import { nodesBehind } from '../node-order.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { endClients, readControlPlane } from './kubernetes.ts';
import type { GateOptions } from './step-cluster.ts';

/**
 * The last node that had the flags of a rollover may have been removed from the cluster before it did
 * the step `finish` or `abort`, so a node that has done it completes the changes in the cluster.
 * @throws AgentError as KubeClient.request
 */
export async function leftInCluster(
  request: StepRequest,
  options: Pick<GateOptions, 'confirmed'>,
  step: 'finish' | 'abort',
): Promise<Pick<StepPlan, 'tasks' | 'refusals' | 'commands'>> {
  const plane = await readControlPlane(request, options);
  const behind = nodesBehind('finish', plane);
  const commands = applyOn(behind, step, 'kubernetes');
  if (behind.length > 0) return { tasks: [], refusals: [], commands };
  const former = await formerAuthorities(request, 'kubernetes');
  const published = former.length === 0 ? [] : await readPublished(request);
  const refusals = notFormer(former, { published, others: plane.others });
  const tasks = refusals.length > 0 ? [] : await tasksLeft(former, { plane, request, step });
  return { tasks, refusals, commands };
}

async function tasksLeft(
  former: readonly FormerAuthority[],
  {
    plane,
    request,
    step,
  }: {
    readonly plane: ControlPlane;
    readonly request: StepRequest;
    readonly step: 'finish' | 'abort';
  },
): Promise<ClusterTask[]> {
  return [
    ...(
      await Promise.all(former.map(async (both) => clusterInfoTask(request, both, 'next')))
    ).flat(),
    ...(await removeFlagsTask(request, plane.managerFlags)),
    ...(await endClients(plane, request)),
    ...(await Promise.all(
      former.map(async ({ old }) =>
        clientAuthoritiesTask(request, { old, clients: 'kubernetes', step }),
      ),
    )),
  ];
}

/** `old` is the CA that this node lacks, and `next` the first CA of this node. */
type FormerAuthority = Required<RolloverAuthorities>;

/** What shows which CA the cluster uses. */
interface UsedAuthorities {
  /** What servers are verified with, without cluster-info. */
  readonly published: readonly TrustAuthority[];
  /** The other control-plane Nodes. */
  readonly others: readonly ControlPlaneNode[];
}

/**
 * Why a CA that this node lacks may not be removed. A node that was off until the others had done their
 * steps lacks the CA that the cluster uses. The reports are needed too, because kube-controller-manager
 * of that node publishes its CA if it becomes the leader.
 */
export function notFormer(
  former: readonly FormerAuthority[],
  { published, others }: UsedAuthorities,
): GateReason[] {
  return former.flatMap(({ old, next }) => [
    ...wrongPublished({ old, next }, published),
    ...others
      .filter(({ report }) => report?.authorities.includes(shortFingerprint(old.fingerprint)))
      .map(({ name }): GateReason => ({
        state: 'waiting',
        message: `the node ${name} reports the CA ${authorityName(old)}, which this node lacks`,
        remedy: `If ${name} has changed since its last report, run there: nodecertd trust sync. ${returnRemedy()}`,
      })),
  ]);
}

function wrongPublished(
  { old, next }: FormerAuthority,
  published: readonly TrustAuthority[],
): GateReason[] {
  const isPublished = (one: TrustAuthority): boolean =>
    published.some((other) => isSameAuthority(one, other));
  if (isPublished(next) && !isPublished(old)) return [];
  const found = isPublished(old)
    ? `has the CA ${authorityName(old)}, which this node lacks`
    : `lacks the CA ${authorityName(next)} of this node`;
  const remedy = `Wait until kube-controller-manager has published its CA after the step on the last node, and run this command again. ${returnRemedy()}`;
  return [{ state: 'waiting', message: `kube-root-ca.crt ${found}`, remedy }];
}

async function readPublished({ client, signal }: StepRequest): Promise<TrustAuthority[]> {
  const reader = { client, signal, bundles: new Bundles() };
  return publishedAuthorities({
    rootCas: await reading(() => readRootCas(reader)),
    trustBundles: await reading(() => readTrustBundles(reader)),
    clusterInfo: { outcome: 'absent' },
  });
}

/**
 * The same for the CA `front-proxy`, which only the ConfigMap of the API servers has.
 * @throws AgentError as KubeClient.request
 */
export async function leftByFrontProxies(
  request: StepRequest,
  { confirmed: { exceptNodes } }: Pick<GateOptions, 'confirmed'>,
  step: 'finish' | 'abort',
): Promise<Pick<StepPlan, 'tasks' | 'refusals' | 'commands'>> {
  const nodes = await readNodesWithOwn(request);
  const others = nodes.others.filter(({ name }) => exceptNodes?.has(name) !== true);
  const behind = others.filter(
    ({ report }) => report !== undefined && reportedCount(report, 'front-proxy') > 1,
  );
  const names = behind.map(({ name }) => name);
  const commands = applyOn(names, step, 'front-proxy');
  if (behind.length > 0) return { tasks: [], refusals: [], commands };
  const former = await formerAuthorities(request, 'front-proxy');
  const [first] = former;
  const refusals = first === undefined ? [] : otherProxies(first.next, others);
  if (refusals.length > 0) return { tasks: [], refusals, commands };
  const tasks = former.map(({ old }) =>
    clientAuthoritiesTask(request, { old, clients: 'front-proxy', step }),
  );
  return { tasks: await Promise.all(tasks), refusals, commands };
}

/**
 * Why the CAs that this node lacks may be in use: another kube-apiserver does not identify itself with a
 * certificate from the CA of this node.
 */
export function otherProxies(
  own: TrustAuthority,
  others: readonly ControlPlaneNode[],
): GateReason[] {
  const digits = shortFingerprint(own.fingerprint);
  return others.flatMap(({ name, report }): GateReason[] => {
    if (report?.frontProxyClient === digits) return [];
    if (report?.frontProxyClient === undefined) {
      return [
        {
          state: 'waiting',
          message: `the node ${name} has not reported the issuer of its certificate front-proxy-client`,
          remedy: `Run on ${name}: nodecertd trust sync; or ignore this node: --except ${name}`,
        },
      ];
    }
    return [
      {
        state: 'waiting',
        message: `the node ${name} reports the CA ${report.frontProxyClient} as the issuer of its certificate front-proxy-client, and this node has the CA ${authorityName(own)}`,
        remedy:
          'If one of the two nodes was off during the rollover, copy front-proxy-ca.crt and front-proxy-ca.key to it from the other node, and run there: kubeadm certs renew front-proxy-client; nodecertd trust sync',
      },
    ];
  });
}

/**
 * No file of this node has the old CA. But API servers never remove a CA of clients from their
 * ConfigMap, so an old CA is one that kube-apiserver of this node no longer accepts.
 */
async function formerAuthorities(
  request: StepRequest,
  clients: ClientKind,
): Promise<FormerAuthority[]> {
  const { components } = await findLocalNode(request.directories);
  const path = fileIn(
    components.find(({ name }) => name === 'kube-apiserver'),
    clientKeys[clients],
  );
  const found = path === undefined ? undefined : await certificatesAt(request.tree, path);
  const [next, ...others] = (found ?? []).map(({ der }) => readAuthority(der));
  if (next === undefined) return [];
  const accepted = [next, ...others];
  const published = await publishedClientAuthorities(request, clients);
  return published
    .filter((one) => !accepted.some((other) => isSameAuthority(one, other)))
    .map((old) => ({ old, next }));
}
