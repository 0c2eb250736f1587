import type { RolloverNode } from '../node-files.ts';
import { flagValue } from '../../../pki/components/component-flags.ts';
import type { Component } from '../../../pki/components/component.ts';
import { authoritiesOf } from '../steps/kubernetes.ts';
import { signingAuthority } from '../client-trust.ts';
import type { StepRequest } from '../step-plan.ts';
import { accessOf } from './checks.ts';
import type { EtcdMember } from './member-api.ts';
import type { EtcdCluster, Elsewhere } from './member-health.ts';
import { inspectEtcd } from './member-health.ts';
import type { MemberProbe } from './member-probes.ts';
import { probeMembers } from './member-probes.ts';
import { urlsIn } from './support.ts';
import { readMirrorPods } from '../mirror-pods.ts';

/** What the members of etcd trust and serve now. */
export interface EtcdView extends EtcdCluster {
  readonly probes: readonly MemberProbe[];
  /** The name of the member on this node. */
  readonly own: string;
}

/** @throws AgentError as etcdAccess, probeMembers and KubeClient.request */
export async function viewEtcd(node: RolloverNode, request: StepRequest): Promise<EtcdView> {
  const { clock, signal } = request;
  const cluster = await inspectEtcd(accessOf(node), request, membersElsewhere(request));
  const [old, next] = [signingAuthority(node, 'old'), signingAuthority(node, 'next')];
  const probes = await probeMembers(cluster.members, {
    authorities: authoritiesOf(node),
    keys: { ...(old && { old }), ...(next && { next }) },
    now: clock.now(),
    signal,
  });
  return { ...cluster, probes, own: ownMember(node.components) };
}

/** The name of the member on this node. */
export function ownMember(components: readonly Component[]): string {
  const etcd = components.find(({ name }) => name === 'etcd');
  return flagValue(etcd?.flags ?? [], 'name') ?? 'default';
}

/** From the static pods of other nodes, because the member on this node may be down. */
export function membersElsewhere({ client, hostName, signal }: StepRequest): Elsewhere {
  return async () => {
    const pods = await readMirrorPods(client, signal);
    return pods
      .filter(({ component, node }) => component === 'etcd' && node !== hostName)
      .flatMap((pod) => urlsIn(pod, 'advertise-client-urls'));
  };
}

/** True for the member on this node. A name that two members have names neither. */
export function isOwn(
  { members, own }: Pick<EtcdView, 'members' | 'own'>,
  member: EtcdMember,
): boolean {
  return member.name === own && members.filter(({ name }) => name === own).length === 1;
}
