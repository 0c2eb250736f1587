import { stat } from 'node:fs/promises';
import { findLocalNode } from '../../../pki/inventory/local-inventory.ts';
import { startOf } from '../../../pki/renewal/component-start.ts';
import { restartRemedy } from '../../../pki/renewal/renewal-advice.ts';
import type { Clock } from '../../../sys/clock.ts';
import type { GateReason } from '../../cluster/gate.ts';
import { lostKey } from '../ca-files.ts';
import { applyCommand } from '../apply-command.ts';
import { etcdAccess } from '../etcd/access.ts';
import { rejectingOld, servingNext } from '../etcd/gates.ts';
import { inspectEtcd } from '../etcd/member-health.ts';
import { etcdObstacles } from '../etcd/support.ts';
import type { EtcdView } from '../etcd/view.ts';
import { membersElsewhere, ownMember, viewEtcd } from '../etcd/view.ts';
import { pairNames, readLeaf } from '../leaf.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath, certificatesAt, readRolloverNode } from '../node-files.ts';
import type { NodeStepName } from '../node-step.ts';
import type { StepRequest } from '../step-plan.ts';
import { undoCommand } from '../task-run.ts';
import { interruptionReasons, memberReasons } from './etcd.ts';
import type { GateOptions } from './step-cluster.ts';

/**
 * Why a step of the CA `etcd` must not be undone on this node now.
 * @throws AgentError as readRolloverNode, etcdAccess and probeMembers
 */
export async function etcdUndoRefusals(
  step: NodeStepName,
  request: StepRequest,
  options: GateOptions,
): Promise<GateReason[]> {
  const node = await readRolloverNode(request);
  // After `finish` the node has no files of the rollover, and the copies have them.
  if (node === undefined) return afterFinish(request, options);
  const foreign = await etcdObstacles(node);
  if (foreign.length > 0) return foreign;
  const view = await viewEtcd(node, request);
  // No restart, and the files may be the reason why a member is not healthy.
  if (step === 'switch') return lostOld(node, view, request);
  const used = step === 'trust' ? await certificatesByNext(node, servingNext(view.probes)) : [];
  return [
    ...used,
    ...memberReasons(`undo ${step}`, view, 'repaired'),
    ...interruptionReasons(view, options),
  ];
}

async function afterFinish(request: StepRequest, options: GateOptions): Promise<GateReason[]> {
  const { components } = await findLocalNode(request.directories);
  const trusted = await certificatesAt(request.tree, caPath(request, 'trusted'));
  const access = etcdAccess(components, trusted ?? []);
  const cluster = await inspectEtcd(access, request, membersElsewhere(request));
  const view = { ...cluster, probes: [], own: ownMember(components) };
  return [...memberReasons('undo finish', view, 'repaired'), ...interruptionReasons(view, options)];
}

/** This member would reject them. */
async function certificatesByNext(
  node: RolloverNode,
  serving: readonly string[],
): Promise<GateReason[]> {
  const leaves = await Promise.all(pairNames.etcd.map(async (name) => readLeaf(node, name)));
  const own = leaves.flatMap((leaf) => (leaf?.by === 'next' ? [leaf.path] : []));
  const objects = [...serving, ...own];
  if (objects.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: 'the new CA has issued certificates already, which this node would reject',
      remedy: `Run on each of these nodes first: ${applyCommand('abort', 'etcd')}`,
      objects,
    },
  ];
}

/** Certificates from the old CA would be rejected, or could not be issued. */
export async function lostOld(
  node: RolloverNode,
  { probes }: Pick<EtcdView, 'probes'>,
  { clock }: Pick<StepRequest, 'clock'>,
): Promise<GateReason[]> {
  const objects = rejectingOld(probes);
  const rejecting: GateReason = {
    state: 'waiting',
    message: 'etcd members reject certificates from the old CA already',
    remedy: `Undo the step finish on these nodes first: ${undoCommand({ step: 'finish', ca: 'etcd' })}; or complete the rollover`,
    objects,
  };
  return [
    ...lostKey(node),
    ...(objects.length === 0 ? [] : [rejecting]),
    ...(await apiServerOfFinish(node, clock)),
  ];
}

/**
 * kube-apiserver reads the CAs of etcd only when it starts. If it starts by itself in the middle of
 * `finish`, it has the new CA alone, and the undo of `finish` does not restart it. The restored file has
 * its earlier modification time, and the time of its inode is that of the undo.
 */
async function apiServerOfFinish(node: RolloverNode, clock: Clock): Promise<GateReason[]> {
  const path = caPath(node, 'trusted');
  const { mtimeMs, ctimeMs } = await stat((await node.tree.locate(path)).physical);
  const start = await startOf('kube-apiserver', { clock });
  if (start === undefined || start <= mtimeMs || start >= ctimeMs) return [];
  return [
    {
      state: 'waiting',
      message: `kube-apiserver on this node started before ${path} was restored, and may trust only the new CA`,
      remedy: `${restartRemedy('kube-apiserver')}, or if it is a unit: systemctl restart kube-apiserver`,
    },
  ];
}
