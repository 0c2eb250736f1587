import { stat } from 'node:fs/promises';
import { printable } from '../../../core/printable.ts';
import { startOf } from '../../../pki/renewal/component-start.ts';
import type { EtcdGateId, Gate, GateReason } from '../../cluster/gate.ts';
import { counted, gateOf } from '../../cluster/gates/verdict.ts';
import { applyCommand, applyOn } from '../apply-command.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import type { MemberChange } from '../etcd/gates.ts';
import {
  conflictReason,
  notServing,
  peerConflicts,
  repairs,
  unconfirmedClients,
  untrusting,
} from '../etcd/gates.ts';
import type { EtcdMember } from '../etcd/member-api.ts';
import type { MemberProblem } from '../etcd/member-health.ts';
import type { EtcdView } from '../etcd/view.ts';
import { isOwn, viewEtcd } from '../etcd/view.ts';
import { caPath } from '../node-files.ts';
import type { NodeStepName } from '../node-step.ts';
import type { GateOptions, StepCluster, StepClusterQuestion } from './step-cluster.ts';

/** The part of the cluster in a step of the CA `etcd`. @throws AgentError as KubeClient.request */
export async function etcdCluster(question: StepClusterQuestion): Promise<StepCluster> {
  const { step, node, request, options } = question;
  const nodes = await readNodesWithOwn(request);
  const view = await viewEtcd(node, request);
  return {
    tasks: await uploadedCertificatesTask(request),
    nodes,
    notes: step === 'switch' ? [] : interruptionNotes(view, options),
    judge: async (restarts) => ({
      gates: await judge(question, { view, restarts }),
      reasons: [],
      commands: commandsAfter(step, view),
    }),
  };
}

export interface Judged {
  readonly view: EtcdView;
  /** The components that the step restarts. */
  readonly restarts: readonly string[];
}

async function judge(
  question: StepClusterQuestion,
  { view, restarts }: Judged,
): Promise<readonly Gate<EtcdGateId>[]> {
  const { step, options, isRepair = false } = question;
  const ownMember = isRepair ? 'repaired' : 'required';
  const members = membersGate(memberReasons(step, view, ownMember), { view, restarts }, options);
  switch (step) {
    case 'trust':
      return [members];
    case 'switch':
      return [
        members,
        gateOf('E2', [...untrusting(view.probes), ...(await outdatedApiServer(question))]),
      ];
    case 'finish':
      return [
        members,
        gateOf('E3', notServing('next', isRepair ? withoutOwn(view) : view.probes)),
        gateOf('E4', options.confirmed.clients === true ? [] : [unconfirmedClients('old')]),
      ];
    default:
      return step satisfies never;
  }
}

/** E1: no other member is missing while this one restarts. */
export function membersGate(
  reasons: readonly GateReason[],
  { view, restarts }: Judged,
  options: Pick<GateOptions, 'acceptsEtcdInterruption'>,
): Gate<EtcdGateId> {
  const interrupted = restarts.includes('etcd') ? interruptionReasons(view, options) : [];
  return gateOf('E1', [...reasons, ...interrupted]);
}

/**
 * Why no member may restart or get other certificates now. If the change repairs the member on this node,
 * only the other members have to be healthy: they are a majority, or the restart interrupts etcd anyway,
 * which the administrator has to accept.
 */
export function memberReasons(
  change: MemberChange,
  view: EtcdView,
  ownMember: 'required' | 'repaired',
): GateReason[] {
  const conflicts = peerConflicts(view.probes).filter(
    (conflict) => !repairs(change, view.own, conflict),
  );
  const problems = ownMember === 'repaired' ? problemsElsewhere(view) : view.problems;
  return [
    ...conflicts.map(conflictReason),
    ...problems.map(({ member, message }): GateReason => {
      const isElsewhere = member !== undefined && !isOwn(view, member);
      const remedy = isElsewhere ? remedyElsewhere(member, view) : `Find the reason: ${readLog}`;
      return { state: 'waiting', message, remedy };
    }),
  ];
}

const readLog =
  'crictl logs "$(crictl ps --all --quiet --name etcd | head -1)", or of a unit: journalctl --unit etcd';

/** The node may be off. A step must not go on without its member: it could not join again. */
function remedyElsewhere({ id, name }: EtcdMember, { own }: EtcdView): string {
  const files = '--cacert=ca.crt --cert=server.crt --key=server.key';
  const pki = files.replaceAll('=', '=/etc/kubernetes/pki/etcd/');
  return `Start its node if it is off, and find the reason there: ${readLog}. If the node is gone for good: kubectl --namespace kube-system exec etcd-${own} -- etcdctl ${pki} member remove ${id}; kubectl delete node ${printable(name, 80)}`;
}

/** All problems if no member answers, because the other members are then unknown. */
function problemsElsewhere(view: EtcdView): readonly MemberProblem[] {
  const { members, problems } = view;
  if (members.length === 0) return problems;
  return problems.filter(({ member }) => member !== undefined && !isOwn(view, member));
}

/** The files of this node have been checked, and its ports may be down. */
function withoutOwn(view: EtcdView): EtcdView['probes'] {
  return view.probes.filter(({ member }) => !isOwn(view, member));
}

/** A majority has to stay when one member restarts. */
function isInterrupted({ members }: Pick<EtcdView, 'members'>): boolean {
  return members.length < 3;
}

function interruption({ members }: { readonly members: readonly EtcdMember[] }): string {
  return `etcd has ${counted(members.length, 'member')}, so its restart on this node stops all writes to the cluster for about a minute, and with one control-plane node for about two, because kube-apiserver restarts next`;
}

/** What the administrator has accepted. */
export function interruptionNotes(
  view: Pick<EtcdView, 'members'>,
  { acceptsEtcdInterruption }: Pick<GateOptions, 'acceptsEtcdInterruption'>,
): string[] {
  return isInterrupted(view) && acceptsEtcdInterruption === true ? [interruption(view)] : [];
}

export function interruptionReasons(
  view: Pick<EtcdView, 'members'>,
  { acceptsEtcdInterruption }: Pick<GateOptions, 'acceptsEtcdInterruption'>,
): GateReason[] {
  if (!isInterrupted(view) || acceptsEtcdInterruption === true) return [];
  return [
    {
      state: 'waiting',
      message: interruption(view),
      remedy: 'Choose a time for it, and run this command with --accept-etcd-interruption',
    },
  ];
}

/**
 * A probe shows what etcd trusts. kube-apiserver has to have started after the step `trust` wrote its
 * file. An undo of `switch` restores the file with the time of that step.
 */
export async function outdatedApiServer({
  node,
  request: { clock },
}: StepClusterQuestion): Promise<GateReason[]> {
  const path = caPath(node, 'trusted');
  const start = await startOf('kube-apiserver', { clock });
  const { mtimeMs } = await stat((await node.tree.locate(path)).physical);
  if (start !== undefined && start >= mtimeMs) return [];
  return [
    {
      state: 'waiting',
      message: `kube-apiserver on this node has not started since ${path} changed`,
      remedy: `Run on this node: ${applyCommand('trust', 'etcd')}`,
    },
  ];
}

/** The step on the nodes that have not done it, or the next step. */
function commandsAfter(step: NodeStepName, { probes, own }: EtcdView): string[] {
  const behind = new Set(
    probes.filter((probe) => isBehind[step](probe)).map(({ member }) => member.name),
  );
  behind.delete(own);
  if (behind.size > 0) return applyOn(behind, step, 'etcd');
  if (step === 'finish') return [];
  const following = step === 'trust' ? 'switch' : 'finish';
  return [`${applyCommand(following, 'etcd')} # on each control-plane node, one after the other`];
}

const isBehind: Readonly<Record<NodeStepName, (probe: EtcdView['probes'][number]) => boolean>> = {
  trust: ({ accepts }) => accepts.next.kind === 'rejected',
  switch: ({ served }) => served.issuedBy === 'old',
  finish: ({ accepts }) => accepts.old.kind === 'accepted',
};
