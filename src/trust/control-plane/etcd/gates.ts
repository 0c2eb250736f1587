import { formatHostPort } from '../../../core/host-port.ts';
import { printable } from '../../../core/printable.ts';
import type { GateReason, RolloverSide } from '../../cluster/gate.ts';
import { sideNames } from '../../cluster/gates/verdict.ts';
import { applyCommand } from '../apply-command.ts';
import { undoCommand } from '../task-run.ts';
import type { NodeStepName } from '../node-step.ts';
import { placeOf } from './member-health.ts';
import type { MemberProbe } from './member-probes.ts';

/** One member serves a certificate that another member does not trust. */
export interface PeerConflict {
  /** The name of the member with this certificate. */
  readonly serving: string;
  readonly by: RolloverSide;
  /** The name of the member that rejects it. */
  readonly rejecting: string;
}

/**
 * Members that reject each other: a member verifies the peers that it dials with the CAs with which it
 * verifies the peers that dial it.
 */
export function peerConflicts(probes: readonly MemberProbe[]): PeerConflict[] {
  const peers = probes.filter(({ port }) => port === 'peer');
  return peers.flatMap(({ member, served }) => {
    const by = served.issuedBy;
    if (by !== 'old' && by !== 'next') return [];
    const rejecting = peers.filter(
      (peer) => peer.member !== member && peer.accepts[by].kind === 'rejected',
    );
    return rejecting.map((peer) => ({ serving: member.name, by, rejecting: peer.member.name }));
  });
}

/** A step or the return from it, on one member. `switch --undo` replaces certificates at any time. */
export type MemberChange = NodeStepName | `undo ${NodeStepName}`;

/** True if this change of this member ends the conflict. */
export function repairs(
  change: MemberChange,
  own: string,
  { serving, by, rejecting }: PeerConflict,
): boolean {
  switch (change) {
    case 'trust':
      return by === 'next' && rejecting === own;
    case 'switch':
    case 'finish':
      return by === 'old' && serving === own;
    case 'undo switch':
      return by === 'next' && serving === own;
    case 'undo finish':
      return by === 'old' && rejecting === own;
    case 'undo trust':
      return false;
    default:
      return change satisfies never;
  }
}

export function conflictReason({ serving, by, rejecting }: PeerConflict): GateReason {
  const peer = printable(serving, 80);
  const other = printable(rejecting, 80);
  return {
    state: 'harmful',
    message: `the etcd members ${peer} and ${other} reject each other: ${peer} has a peer certificate from ${sideNames[by]}, which ${other} does not trust`,
    remedy:
      by === 'next'
        ? `Restore the previous etcd/peer.crt and etcd/peer.key on ${peer}, which needs no restart: ${undoCommand({ step: 'switch', ca: 'etcd' })}; then run on ${other}: ${applyCommand('trust', 'etcd')}`
        : `Run on ${peer}: ${applyCommand('switch', 'etcd')}; or undo the last step on ${other}: ${undoCommand({ step: 'finish', ca: 'etcd' })}`,
  };
}

/** The ports that do not accept certificates from the new CA yet. */
export function untrusting(probes: readonly MemberProbe[]): GateReason[] {
  return probes.flatMap((probe): GateReason[] => {
    const { kind, ...rest } = probe.accepts.next;
    switch (kind) {
      case 'accepted':
      case 'no-key':
        return [];
      case 'rejected':
        return [
          {
            state: 'waiting',
            message: `${portOf(probe)} rejects certificates from the new CA`,
            remedy: `Run on ${printable(probe.member.name, 80)}: ${applyCommand('trust', 'etcd')}`,
          },
        ];
      case 'failed':
        return [unanswered(probe, 'reason' in rest ? rest.reason : '')];
      default:
        return kind satisfies never;
    }
  });
}

/** The ports that do not serve a certificate from this CA. */
export function notServing(side: RolloverSide, probes: readonly MemberProbe[]): GateReason[] {
  const step = side === 'next' ? 'switch' : 'abort';
  return probes.flatMap((probe): GateReason[] => {
    const { served } = probe;
    if (served.issuedBy === side) return [];
    if (served.issuedBy === 'unreadable') return [unanswered(probe, served.reason)];
    const issuer = served.issuedBy === 'other' ? 'another CA' : sideNames[served.issuedBy];
    return [
      {
        state: 'waiting',
        message: `${portOf(probe)} serves a certificate from ${issuer}`,
        remedy: `Run on ${printable(probe.member.name, 80)}: ${applyCommand(step, 'etcd')}`,
      },
    ];
  });
}

/** The ports that reject certificates from the old CA already. */
export function rejectingOld(probes: readonly MemberProbe[]): readonly string[] {
  return probes.filter(({ accepts }) => accepts.old.kind === 'rejected').map(portOf);
}

/** The ports that serve a certificate from the new CA already. */
export function servingNext(probes: readonly MemberProbe[]): readonly string[] {
  return probes.filter(({ served }) => served.issuedBy === 'next').map(portOf);
}

/** etcd does not show the clients that connect to it. @param removed the CA that they may use */
export function unconfirmedClients(removed: RolloverSide): GateReason {
  const kept = removed === 'old' ? 'next' : 'old';
  const file = removed === 'old' ? ' and the new etcd/ca.crt' : '';
  return {
    state: 'waiting',
    message: `clients of etcd outside of this node may have certificates from ${sideNames[removed]}, for example a backup job, Prometheus or a network plugin`,
    remedy: `Give them certificates from ${sideNames[kept]}${file}, and then run this command with --clients-ok`,
  };
}

/** As in `port 2380 of the etcd member control-plane-1`. */
function portOf({ member, server }: MemberProbe): string {
  return `${placeOf(member)} at ${formatHostPort(server)}`;
}

function unanswered(probe: MemberProbe, reason: string): GateReason {
  return { state: 'unknown', message: `${portOf(probe)} does not answer a probe: ${reason}` };
}
