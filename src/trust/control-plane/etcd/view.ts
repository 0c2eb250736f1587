import type { RolloverNode } from '../node-files.ts';
import { flagValue } from '../../../pki/components/component-flags.ts';
import { authoritiesOf } from '../steps/kubernetes.ts';
import { signingAuthority } from '../client-trust.ts';
import type { StepRequest } from '../step-plan.ts';
import { accessOf } from './checks.ts';
import type { EtcdCluster } from './member-health.ts';
import { inspectEtcd } from './member-health.ts';
import type { MemberProbe } from './member-probes.ts';
import { probeMembers } from './member-probes.ts';

/** What the members of etcd trust and serve now. */
export interface EtcdView extends EtcdCluster {
  readonly probes: readonly MemberProbe[];
  /** The name of the member on this node. */
  readonly own: string;
}

/** @throws AgentError as etcdAccess and probeMembers */
export async function viewEtcd(
  node: RolloverNode,
  { clock, signal }: Pick<StepRequest, 'clock' | 'signal'>,
): Promise<EtcdView> {
  const cluster = await inspectEtcd(accessOf(node), signal);
  const [old, next] = [signingAuthority(node, 'old'), signingAuthority(node, 'next')];
  const probes = await probeMembers(cluster.members, {
    authorities: authoritiesOf(node),
    keys: { ...(old && { old }), ...(next && { next }) },
    now: clock.now(),
    signal,
  });
  const etcd = node.components.find(({ name }) => name === 'etcd');
  return { ...cluster, probes, own: flagValue(etcd?.flags ?? [], 'name') ?? 'default' };
}
