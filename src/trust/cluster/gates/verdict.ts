import { isSameAuthority } from '../../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../../core/trust.ts';
import type { Gate, GateReason, RolloverSide, ServerTrust, StepGateId } from '../gate.ts';
import type { Reading } from '../state.ts';

const order = ['harmful', 'waiting', 'unknown'] as const;

/** A gate is as bad as its worst reason. */
export function gateOf<Id extends StepGateId>(id: Id, reasons: readonly GateReason[]): Gate<Id> {
  const sorted = order.flatMap((state) => reasons.filter((reason) => reason.state === state));
  return { id, state: sorted[0]?.state ?? 'open', reasons: sorted };
}

/** Judges what was read. An absent object has no reasons. */
export function judged<T>(
  reading: Reading<T>,
  what: string,
  judge: (value: T) => readonly GateReason[],
): readonly GateReason[] {
  switch (reading.outcome) {
    case 'read':
      return judge(reading.value);
    case 'absent':
      return [];
    case 'forbidden':
      return [unseen(what, reading.failure.message)];
    default:
      return reading satisfies never;
  }
}

export function unseen(what: string, why: string): GateReason {
  return { state: 'unknown', message: `cannot see ${what}: ${why}`, remedy: bindRole };
}

/** The role is in config/rbac-ca-rollover.yaml. */
export const bindRole =
  'Use the kubeconfig of an administrator, or bind the ClusterRole nodecertd:ca-rollover to the user in the message';

export interface MissingSide {
  readonly side: RolloverSide;
  readonly state: 'harmful' | 'waiting';
}

/**
 * The CAs that a client of the API servers still lacks, and whether its next connection fails. It
 * needs the old CA as long as an API server may present a certificate from that CA.
 */
export function missingSides(
  has: (side: RolloverSide) => boolean,
  servers: ServerTrust | undefined,
): MissingSide[] {
  const missing: MissingSide[] = [];
  if (!has('next')) {
    missing.push({
      side: 'next',
      state: servers?.rejectsOldTrust === true ? 'harmful' : 'waiting',
    });
  }
  const servesOld = servers?.serves.has('old');
  if (!has('old') && servesOld !== false) {
    missing.push({ side: 'old', state: servesOld === true ? 'harmful' : 'waiting' });
  }
  return missing;
}

export function holds(held: readonly TrustAuthority[], authority: TrustAuthority): boolean {
  return held.some((one) => isSameAuthority(one, authority));
}

/** The remedy when clients that lack the new CA reject the API servers. */
export const restoreServing =
  'Append the bridge to the certificate of each kube-apiserver, or restore the previous certificate';

export const sideNames = { old: 'the old CA', next: 'the new CA' } as const;

/** `1 node`, `3 nodes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
