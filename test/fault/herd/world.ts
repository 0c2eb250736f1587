import type { Profile } from '../../../src/core/certificate-spec.ts';
import type { PairFacts } from '../../../src/core/certificate.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { Cluster } from './cluster.ts';
import type { EventQueue } from './event-queue.ts';

/** What every node of the simulation shares. */
export interface World {
  readonly queue: EventQueue;
  readonly random: () => number;
  readonly cluster: Cluster;
  readonly tally: Tally;
}

/** What became of the nodes. */
export interface Tally {
  /** Certificates that were not replaced before they expired. */
  lost: number;
  stored: number;
  /** The most requests of one identity that were undecided at a time. */
  outstanding: number;
}

/** A pair that was there before the simulation began. */
export type Pair = Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt' | 'serial'>;

export type KubeletProfile = Exclude<Profile, 'custom'>;

/** A node and its two certificates, whoever keeps them. */
export interface HerdNode {
  /** The agent, or the kubelet, begins its work. */
  start(): void;
  readonly pairs: ReadonlyMap<KubeletProfile, Pair>;
}

/** When the kubelet has registered its Node, after it got its client certificate. */
export function registrationDelay(random: () => number): number {
  return 5_000 + 25_000 * random();
}

/** Counts a pair that is replaced, or that the end of the simulation finds, too late. */
export function isLost(pair: Pair | undefined, now: Instant): boolean {
  return pair !== undefined && now >= pair.notAfter;
}
