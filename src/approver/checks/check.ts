import type { DecisionCode, Finding } from '../decision.ts';
import type { Question } from './question.ts';

/** One row of the policy. Rows are evaluated in order, and the first finding decides. */
export interface Check {
  /** As in `5.5`. */
  readonly id: string;
  readonly codes: readonly DecisionCode[];
  /** What passes, as a clause. */
  readonly passesIf: string;
  /** Undefined if the CSR passes. */
  readonly judge: (question: Question) => Finding | undefined;
  /** What the check compares the CSR with, for an explanation. */
  readonly facts?: (question: Question) => readonly UsedFact[];
}

export interface UsedFact {
  readonly fact: string;
  readonly value: string;
  /** `CSR`, `policy`, or an object such as `Node n1`. */
  readonly source: string;
  readonly resourceVersion?: string;
}
