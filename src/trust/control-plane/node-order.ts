import { flagValue } from '../../pki/components/component-flags.ts';
import type { Flags, SectionFlags } from './cluster-tasks.ts';
import type { AwaitedNodes, ControlPlaneNode, ControlPlaneNodes } from './control-plane-nodes.ts';
import type { MirrorPod } from './mirror-pods.ts';
import type { Step } from './task.ts';

export interface ControlPlane extends Pick<ControlPlaneNodes, 'own'>, AwaitedNodes {
  readonly pods: readonly MirrorPod[];
  /** kube-controller-manager on this machine is the leader. */
  readonly isLeader: boolean;
  /** From `trust` to `finish`. */
  readonly managerFlags: SectionFlags;
  /** After `finish --keep-absent-nodes`. */
  readonly serverFlags: SectionFlags;
  /** The step is `finish --keep-absent-nodes`. */
  readonly keepsAbsentNodes: boolean;
}

/** Without the nodes that no step waits for. */
export type AwaitedPlane = Omit<ControlPlane, 'away'>;

/** The other control-plane Nodes on which this step of `trust` or `finish` is not done. */
export function nodesBehind(
  step: Extract<Step, 'trust' | 'finish'>,
  plane: AwaitedPlane,
): string[] {
  const endsClients = step === 'finish' && !plane.keepsAbsentNodes;
  const isBehind = (node: ControlPlaneNode): boolean =>
    hasBegun(node, plane) !== (step === 'trust') ||
    (endsClients && keepsClients(node, plane) === true);
  return plane.others.filter(isBehind).map(({ name }) => name);
}

/**
 * Notes for Nodes that `--except` names although they are Ready. If they counted as done, their kube-apiserver
 * would add a removed CA to the cluster again, and `kubeadm upgrade` there would write flags that do not fit
 * its files.
 * @param behind the Nodes on which the step is not done
 */
export function exceptedNotes(
  behind: readonly string[],
  exceptNodes: ReadonlySet<string> = new Set(),
): string[] {
  return behind
    .filter((name) => exceptNodes.has(name))
    .map(
      (name) =>
        `The Node ${name} is Ready, so run this step there too, although --except names it. The changes of the last node follow after that.`,
    );
}

/** The other control-plane Nodes that have done the step `finish` without `--keep-absent-nodes`. */
export function nodesWithoutOld(plane: AwaitedPlane): string[] {
  const isEnded = (node: ControlPlaneNode): boolean =>
    keepsClients(node, plane) === false && !hasBegun(node, plane);
  return plane.others.filter(isEnded).map(({ name }) => name);
}

/** Undefined without a static pod: no other node knows the flags of a unit. */
function keepsClients(
  node: ControlPlaneNode,
  { pods, serverFlags: { flags } }: AwaitedPlane,
): boolean | undefined {
  const server = podOf('kube-apiserver', node, pods);
  return server && has(server, flags);
}

/**
 * The node is between `trust` and `finish`. Without a static pod, its kube-controller-manager is a
 * unit, and the node reports the CAs in its `ca.crt`.
 */
function hasBegun(
  node: ControlPlaneNode,
  { pods, managerFlags: { flags } }: AwaitedPlane,
): boolean {
  const manager = podOf('kube-controller-manager', node, pods);
  return manager === undefined ? (node.report?.authorities.length ?? 0) > 1 : has(manager, flags);
}

function podOf(
  component: MirrorPod['component'],
  { name }: ControlPlaneNode,
  pods: readonly MirrorPod[],
): MirrorPod | undefined {
  return pods.find((pod) => pod.node === name && pod.component === component);
}

function has(pod: MirrorPod, flags: Flags): boolean {
  return flags.entries().every(([name, value]) => flagValue(pod.flags, name) === value);
}

/**
 * Why another node should come first. A leader that restarts keeps its Lease, so nothing is issued
 * and published for 16 to 20 seconds; if it comes last, that happens once.
 */
export function earlyLeader(
  step: Extract<Step, 'trust' | 'finish'>,
  plane: AwaitedPlane,
): string | undefined {
  const behind = nodesBehind(step, plane);
  if (!plane.isLeader || behind.length === 0) return undefined;
  return `kube-controller-manager on this node is the leader, and its restart stops all signing for up to 20s; run the step on ${behind.join(', ')} first, so that this happens only once`;
}
