import type { Profile } from '../../../src/core/certificate-spec.ts';
import type { PairFacts } from '../../../src/core/certificate.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { Cluster } from './cluster.ts';
import type { EventQueue } from './event-queue.ts';

/** The parts that all nodes of the simulation share. */
export interface World {
  readonly queue: EventQueue;
  readonly random: () => number;
  readonly cluster: Cluster;
  readonly tally: Tally;
}

/** The results of the nodes. */
export interface Tally {
  /** Certificates that expired before their rotation. */
  lost: number;
  stored: number;
  /** The maximum of pending CSRs of one identity. */
  outstanding: number;
}

/** A pair that existed before the start. */
export type Pair = Pick<PairFacts, 'notBefore' | 'notAfter' | 'storedAt' | 'serial'>;

export type KubeletProfile = Exclude<Profile, 'custom'>;

/** A node with two certificates. */
export interface HerdNode {
  /** Starts the agent or the kubelet. */
  start(): void;
  readonly pairs: ReadonlyMap<KubeletProfile, Pair>;
}

/**
 * The time at which the kubelet has registered its Node after its client certificate
 * was issued.
 */
export function registrationDelay(random: () => number): number {
  return 5_000 + 25_000 * random();
}

/** Counts a pair that was replaced too late, or that has expired at the end of the simulation. */
export function isLost(pair: Pair | undefined, now: Instant): boolean {
  return pair !== undefined && now >= pair.notAfter;
}
