import type { Instant } from './instant.ts';
import { formatDuration } from './instant.ts';
import type { TrustReaderState } from './trust.ts';

/** What depends on a CA that may no longer be needed. */
export interface DropFacts {
  readonly notAfter: Instant;
  readonly now: Instant;
  /** False if the clock of this node may be wrong, so that valid CAs look expired. */
  readonly isClockTrusted: boolean;
  /** The other held CAs that are valid now. */
  readonly otherAuthorities: number;
  /** The source has lacked the CA since then, without a break. Absent if the source has it. */
  readonly missingSince?: Instant | undefined;
  /** False if no source could be read in this run. */
  readonly isSourceRead: boolean;
  readonly dropAfterMs: number;
  /** Why the other CAs do not verify each API server, one sentence for each server. */
  readonly unverified: readonly string[];
  /** The certificates that the CA issued, and that are in use or can be again. */
  readonly leaves: readonly string[];
  readonly reader: TrustReaderState;
}

/** Why a node still needs a CA. Empty if the CA can be dropped. */
export function reasonsToKeep(facts: DropFacts): string[] {
  const { otherAuthorities, notAfter, now, isClockTrusted } = facts;
  const last = otherAuthorities > 0 ? [] : ['it is the only valid CA of this node'];
  const isExpired = now >= notAfter && isClockTrusted;
  return isExpired ? last : [...last, ...neededFor(facts)];
}

function neededFor(facts: DropFacts): string[] {
  const { unverified, leaves, reader, isClockTrusted } = facts;
  return [
    ...(isClockTrusted ? [] : ['the clock of this node may be wrong']),
    ...sourceReasons(facts),
    ...unverified,
    ...leaves.map((path) => `it issued ${path}`),
    ...(reader === 'current' ? [] : [readerReasons[reader]]),
  ];
}

function sourceReasons({ missingSince, isSourceRead, dropAfterMs, now }: DropFacts): string[] {
  if (!isSourceRead) return ['no source of the CAs could be read'];
  if (missingSince === undefined) return ['the source has it'];
  const lacked = Math.max(now - missingSince, 0);
  if (lacked >= dropAfterMs) return [];
  return [
    `the source has lacked it for ${formatDuration(lacked)}, and trust.dropAfter is ${formatDuration(dropAfterMs)}`,
  ];
}

const readerReasons = {
  pending: 'the kubelet may not use the other CAs yet',
  unknown: 'nodecertd does not see the kubelet, which may not use the other CAs yet',
} as const satisfies Readonly<Record<Exclude<TrustReaderState, 'current'>, string>>;
