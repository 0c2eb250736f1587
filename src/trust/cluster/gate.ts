import type { TrustAuthority } from '../../core/trust.ts';

/** The gates of a CA rollover, in the order in which they open. */
export const gateNames = {
  G1: 'servers',
  G2: 'published',
  G3: 'nodes',
  G4: 'pods',
  G5: 'signer',
  G6: 'serving',
  G7: 'reissued',
  G8: 'droppable',
} as const;

export type GateId = keyof typeof gateNames;

/**
 * - `open`: the next step is safe
 * - `waiting`: not yet; the cluster reaches it, or an administrator has work to do
 * - `harmful`: something fails now, or fails as soon as a connection is cut
 * - `unknown`: the credential may not read something that the gate needs
 */
export type GateState = 'open' | 'waiting' | 'harmful' | 'unknown';

export interface Gate {
  readonly id: GateId;
  readonly state: GateState;
  /** Why it is not open; the harmful ones first. */
  readonly reasons: readonly GateReason[];
}

export interface GateReason {
  readonly state: Exclude<GateState, 'open'>;
  /** What is wrong, on what, and the value found. */
  readonly message: string;
  readonly remedy?: string;
  /** Names of Nodes, namespaces or other objects; the table shows the first 20. */
  readonly objects?: readonly string[];
}

/** The two CAs of a rollover. */
export interface RolloverAuthorities {
  readonly old: TrustAuthority;
  /** Absent while the cluster has one CA. */
  readonly next?: TrustAuthority;
}
