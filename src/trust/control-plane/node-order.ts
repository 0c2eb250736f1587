import { flagValue } from '../../pki/components/component-flags.ts';
import type { Flags } from './cluster-tasks.ts';
import type { ControlPlaneNodes } from './control-plane-nodes.ts';
import type { MirrorPod } from './mirror-pods.ts';
import type { Step } from './task.ts';

export interface ControlPlane extends ControlPlaneNodes {
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
  const hasFlags = (node: string): boolean =>
    pods.some((pod) => pod.node === node && isManager(pod) && has(pod, flags));
  const names = others.map(({ name }) => name);
  return names.filter((name) => hasFlags(name) !== (step === 'trust'));
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
  plane: ControlPlane,
): string | undefined {
  const behind = nodesBehind(step, plane);
  if (!plane.isLeader || behind.length === 0) return undefined;
  return `kube-controller-manager on this node is the leader, and its restart stops all signing for up to 20s; run the step on ${behind.join(', ')} first, so that this happens only once`;
}
