import { flagValue } from '../../pki/components/component-flags.ts';
import type { Flags } from './cluster-tasks.ts';
import type { AwaitedNodes, ControlPlaneNode, ControlPlaneNodes } from './control-plane-nodes.ts';
import type { MirrorPod } from './mirror-pods.ts';
import type { Step } from './task.ts';

export interface ControlPlane extends Pick<ControlPlaneNodes, 'own'>, AwaitedNodes {
  readonly pods: readonly MirrorPod[];
  /** kube-controller-manager on this machine is the leader. */
  readonly isLeader: boolean;
  /** The flags of kube-controller-manager from `trust` to `finish`. */
  readonly flags: Flags;
}

/** The other control-plane Nodes on which this step of `trust` or `finish` is not done. */
export function nodesBehind(
  step: Extract<Step, 'trust' | 'finish'>,
  { others, pods, flags }: Pick<ControlPlane, 'others' | 'pods' | 'flags'>,
): string[] {
  const isBehind = (node: ControlPlaneNode): boolean =>
    hasBegun(node, { pods, flags }) !== (step === 'trust');
  return others.filter(isBehind).map(({ name }) => name);
}

/**
 * The node is between `trust` and `finish`. Without a static pod, its kube-controller-manager is a
 * unit, and the node reports the CAs in its `ca.crt`.
 */
function hasBegun(
  { name, report }: ControlPlaneNode,
  { pods, flags }: Pick<ControlPlane, 'pods' | 'flags'>,
): boolean {
  const manager = pods.find((pod) => pod.node === name && isManager(pod));
  return manager === undefined ? (report?.authorities.length ?? 0) > 1 : has(manager, flags);
}

function isManager({ component }: MirrorPod): boolean {
  return component === 'kube-controller-manager';
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
  plane: Omit<ControlPlane, 'away'>,
): string | undefined {
  const behind = nodesBehind(step, plane);
  if (!plane.isLeader || behind.length === 0) return undefined;
  return `kube-controller-manager on this node is the leader, and its restart stops all signing for up to 20s; run the step on ${behind.join(', ')} first, so that this happens only once`;
}
