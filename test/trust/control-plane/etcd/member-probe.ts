import type { RolloverSide } from '../../../../src/trust/cluster/gate.ts';
import type { ProbeResult } from '../../../../src/trust/cluster/probes.ts';
import type { ServedLeaf } from '../../../../src/trust/cluster/served-leaf.ts';
import type { EtcdMember } from '../../../../src/trust/control-plane/etcd/member-api.ts';
import type { MemberProbe } from '../../../../src/trust/control-plane/etcd/member-probes.ts';

export function memberNamed(name: string): EtcdMember {
  return { id: `f${name}`, name, clientUrls: [], peerUrls: [], isLearner: false };
}

/** What a port of a member would answer. */
export function probeOf(
  member: EtcdMember,
  port: 'client' | 'peer',
  found: {
    readonly serves: ServedLeaf['issuedBy'];
    readonly accepts: readonly RolloverSide[] | 'failed';
  },
): MemberProbe {
  const { serves, accepts } = found;
  const resultFor = (side: RolloverSide): ProbeResult => {
    if (accepts === 'failed') return { kind: 'failed', reason: 'refused' };
    return { kind: accepts.includes(side) ? 'accepted' : 'rejected' };
  };
  const served: ServedLeaf =
    serves === 'unreadable'
      ? { issuedBy: serves, reason: 'refused' }
      : { issuedBy: serves, hasBridge: false };
  return {
    member,
    port,
    server: { host: '127.0.0.1', port: port === 'client' ? 2379 : 2380 },
    served,
    accepts: { old: resultFor('old'), next: resultFor('next') },
  };
}
