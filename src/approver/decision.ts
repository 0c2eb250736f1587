import type { Instant } from '../core/instant.ts';

/**
 * approve and deny are final. hold: the CSR stays pending and is evaluated again. ignore: the CSR
 * is not ours, or is decided; nothing is written.
 */
export const outcomes = ['approve', 'deny', 'hold', 'ignore'] as const;
export type Outcome = (typeof outcomes)[number];

/**
 * The reasons of conditions, events and metrics. Other people's alerts use them, so the meaning
 * of a code never changes.
 */
export const decisionCodes = [
  'ServingPolicyPassed',
  'NotPending',
  'RequestorNotNode',
  'GroupsMissing',
  'RequestMalformed',
  'UnexpectedExtension',
  'SignatureInvalid',
  'WeakKey',
  'KeyReused',
  'SubjectMismatch',
  'UsagesNotAllowed',
  'ExpirationTooLong',
  'AltNamesNotAllowed',
  'ProtectedName',
  'ProtectedAddress',
  'NodeNotFound',
  'NodeRecreated',
  'NodeTerminating',
  'NodeUninitialized',
  'AddressesEmpty',
  'SANNotOwned',
  'AddressNotAllowed',
  'NameNotAllowed',
  'AddressConflict',
  'SourceDisagrees',
  'SourceUnavailable',
  'Superseded',
] as const;
export type DecisionCode = (typeof decisionCodes)[number];

/** The first check that a CSR fails, and what follows from it. */
export interface Finding {
  readonly outcome: Exclude<Outcome, 'approve'>;
  readonly code: DecisionCode;
  /** What failed and the value found, on one line without a period. */
  readonly message: string;
  /** The change that would alter the outcome, as an imperative. */
  readonly remedy: string;
  /** A time at which the outcome may change without a change of any object. */
  readonly until?: Instant;
  /**
   * The finding depends on the Node from the watch. Read the Node with a GET, and evaluate again
   * with it before acting.
   */
  readonly needsFreshNode?: boolean;
  /** Other Nodes that the finding concerns; they get an Event too. */
  readonly otherNodes?: readonly string[];
}

export interface Decision {
  readonly outcome: Outcome;
  readonly code: DecisionCode;
  /** The id of the check that decided; undefined for an approval. */
  readonly failedCheck: string | undefined;
  /** Undefined for an approval. */
  readonly finding: Finding | undefined;
  /** The message of the condition: one line of at most 1 KiB. */
  readonly message: string;
}
