import type { TrustAuthority } from '../../../core/trust.ts';
import { shortFingerprint } from '../../../core/trust.ts';
import { readAuthority } from '../../../kube/authorities.ts';
import { findLocalNode } from '../../../pki/inventory/local-inventory.ts';
import { readCertificatesOf } from '../../../pki/renewal/certificate-chain.ts';
import { rolloverDirectory } from '../../../pki/renewal/rollover-runs.ts';
import { readContent } from '../../../store/file-content.ts';
import type { Restoration } from '../../../store/run-folder.ts';
import { readRuns, restorations } from '../../../store/run-folder.ts';
import type { GateReason, RolloverAuthorities, RolloverSide } from '../../cluster/gate.ts';
import { isInUse } from '../../cluster/in-use.ts';
import type { RolloverView } from '../../cluster/rollover.ts';
import { applyCommand, rolloverBack } from '../apply-command.ts';
import { lostKey } from '../ca-files.ts';
import { clusterInfoTask, removeFlagsTask, setFlagsTask } from '../cluster-tasks.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import { reportTask } from '../new-authority-report.ts';
import type { NodePlaces, RolloverNode } from '../node-files.ts';
import { caPath, readRolloverNode } from '../node-files.ts';
import type { ControlPlane } from '../node-order.ts';
import { nodesBehind } from '../node-order.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import type { ClusterTask } from '../task.ts';
import { isOf } from '../undo.ts';
import { externalEtcd } from '../etcd/support.ts';
import { etcdUndoRefusals } from './etcd-undo.ts';
import { externalUndoRefusals } from './external-etcd.ts';
import type { GateOptions } from './step-cluster.ts';
import { frontProxyUndoRefusals, unknownIssuer } from './front-proxy.ts';
import { authoritiesOf, endClients, readControlPlane, viewOf } from './kubernetes.ts';

/**
 * Plans the return from `trust`, `switch` or `finish` on this node: why it must not happen, and what
 * changes in the cluster. The files come from the copies of the step.
 * @throws AgentError as readRolloverNode and viewRollover
 */
export async function planRolloverUndo(
  step: NodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<StepPlan> {
  const { ca, hostName } = request;
  const common = { step, nodeName: hostName, restarts: [], gates: [], notes: [], commands: [] };
  if (ca !== 'kubernetes') {
    const refusals = await undoRefusals[ca](step, request, options);
    const { own } = await readNodesWithOwn(request);
    const node = ca === 'front-proxy' && step === 'switch' && (await readRolloverNode(request));
    const first = node ? await unknownIssuer('old', { node, request }, own) : [];
    const tasks = [...first, ...(await reportTask(own, { request, isChanged: true }))];
    return { ...common, tasks, refusals };
  }
  const node = await readRolloverNode(request);
  if (step === 'finish') {
    const refusals = await keyDestroyed(request);
    if (refusals.length > 0) return { ...common, tasks: [], refusals };
    return { ...common, tasks: await tasksBeforeFinish(node, request, options), refusals: [] };
  }
  if (node === undefined) return { ...common, tasks: [], refusals: [] };
  const view = await viewOf(node, request, options);
  return {
    ...common,
    tasks:
      step === 'trust'
        ? await returnTasks(node, { plane: await readControlPlane(request, options), request })
        : [],
    refusals: step === 'trust' ? certificatesByNext(view) : lostOld(node, view),
  };
}

const undoRefusals = {
  etcd: async (step: NodeStepName, request: StepRequest, options: GateOptions) => {
    const external = externalEtcd((await findLocalNode(request.directories)).components);
    return external === undefined
      ? etcdUndoRefusals(step, request, options)
      : externalUndoRefusals(step, external, request);
  },
  'front-proxy': frontProxyUndoRefusals,
} as const;

/**
 * A certificate from the new CA would be rejected. Another node that has done the step `switch` serves
 * one before any node reports one.
 * @param side the new CA of the node in this view
 */
export function certificatesByNext(
  {
    state,
    authorities: { old, next },
    local,
    probes,
  }: Pick<RolloverView, 'state' | 'authorities' | 'local' | 'probes'>,
  side: RolloverSide = 'next',
): GateReason[] {
  if (next === undefined) return [];
  const serving = probes.filter(({ served }) => served.issuedBy === side);
  const input = { state, authorities: { old, next }, leaves: local.leaves };
  if (serving.length === 0 && !isInUse(side, input)) return [];
  const authorities = side === 'next' ? { old, next } : { old: next, next: old };
  return [
    {
      state: 'waiting',
      message: 'the new CA has issued certificates already, which this node would reject',
      remedy: `Run on each node where the step switch has begun: ${applyCommand('abort', 'kubernetes')}; then wait until nothing needs the new CA: ${waitForOld(authorities)}`,
      ...(serving.length > 0 && { objects: serving.map(({ server }) => server.name) }),
    },
  ];
}

/** The wait of a rollover, with the CAs swapped. */
export function waitForOld({ old, next }: Required<RolloverAuthorities>): string {
  const [oldName, newName] = [next, old].map(({ fingerprint }) => shortFingerprint(fingerprint));
  return `nodecertd ca-rollover wait --for droppable --timeout 3d --old ${oldName} --new ${newName} # with --clients-ok or --audit-log FILE`;
}

/** Certificates from the old CA would be rejected, or nothing could be issued. */
export function lostOld(
  node: Parameters<typeof lostKey>[0],
  { probes }: Pick<RolloverView, 'probes'>,
): GateReason[] {
  const rejecting = probes.filter(({ byOld }) => byOld.kind === 'rejected');
  const objects = rejecting.map(({ server }) => server.name);
  return [
    ...lostKey(node),
    ...(objects.length > 0
      ? [
          {
            state: 'waiting',
            message: 'API servers reject client certificates from the old CA already',
            remedy: `Undo the step finish on these nodes first, if their copies have the key of the old CA. Otherwise: ${rolloverBack('kubernetes')}`,
            objects,
          } as const,
        ]
      : []),
  ];
}

/**
 * `kubeadm upgrade` must not write flags for files that the node no longer has. The last node that
 * returns removes the new CA from cluster-info.
 */
export async function returnTasks(
  node: RolloverNode,
  { plane, request }: { readonly plane: ControlPlane; readonly request: StepRequest },
): Promise<ClusterTask[]> {
  const { old, next } = authoritiesOf(node);
  const isLast = nodesBehind('finish', plane).length === 0;
  return [
    ...(await removeFlagsTask(request, plane.managerFlags)),
    ...(isLast ? await clusterInfoTask(request, { old: next, next: old }, 'next') : []),
  ];
}

/** The objects have both CAs again, as after `trust`. */
async function tasksBeforeFinish(
  node: RolloverNode | undefined,
  request: StepRequest,
  options: GateOptions,
): Promise<ClusterTask[]> {
  const authorities = node === undefined ? await copiedAuthorities(request) : authoritiesOf(node);
  if (authorities === undefined) return [];
  const plane = await readControlPlane(request, options);
  const isLast = nodesBehind('trust', plane).length === 0;
  return [
    ...(await clusterInfoTask(request, authorities, 'both')),
    ...(await endClients(plane, request)),
    ...(isLast ? await setFlagsTask(request, plane.managerFlags) : []),
  ];
}

/** A `finish` that ends `finish --keep-absent-nodes` has found no key of the old CA. */
export async function keyDestroyed(places: NodePlaces): Promise<GateReason[]> {
  const path = caPath(places, 'clients');
  if ((await copyIn(await copiesOfFinish(places), path, places)) === undefined) return [];
  return [
    {
      state: 'waiting',
      message: 'the key of the old CA is destroyed, so the step finish cannot be undone',
      remedy: `Delete the copies: ${applyCommand('finish', 'kubernetes')} --old-key destroy`,
    },
  ];
}

async function copiesOfFinish({ directories }: NodePlaces): Promise<Restoration[]> {
  const { active } = await readRuns(rolloverDirectory(directories));
  return restorations(active.filter((run) => isOf({ ca: 'kubernetes', step: 'finish' }, run)));
}

/** After `finish`, only the copies of a node have the old CA. Undefined if there are none. */
export async function copiedAuthorities(
  places: NodePlaces,
): Promise<Required<RolloverAuthorities> | undefined> {
  const copies = await copiesOfFinish(places);
  const [old, next] = await Promise.all(
    (['previous', 'next'] as const).map(async (file) =>
      copyIn(copies, caPath(places, file), places),
    ),
  );
  return old && next && { old, next };
}

async function copyIn(
  copies: readonly Restoration[],
  path: string,
  { tree }: NodePlaces,
): Promise<TrustAuthority | undefined> {
  const located = await tree.locate(path);
  const copy = copies.find((one) => one.path === located.path)?.target?.backup;
  const content = copy === undefined ? undefined : await readContent(copy);
  if (copy === undefined || content === undefined) return undefined;
  const [first] = await readCertificatesOf(copy, content.bytes);
  return first && readAuthority(first.der);
}
