import { kubeletServingSigner } from '../core/certificate-spec.ts';
import type { UsedFact } from './checks/check.ts';
import { checks } from './checks/all-checks.ts';
import { Question } from './checks/question.ts';
import type { QuestionInput } from './checks/question.ts';
import type { Decision, DecisionCode } from './decision.ts';
import { evaluateQuestion } from './evaluate.ts';

export type CheckState = 'passed' | 'failed' | 'not reached';

/** One check of the policy, as it went for one CSR. */
export interface ExplainedCheck {
  readonly id: string;
  readonly codes: readonly DecisionCode[];
  readonly passesIf: string;
  readonly state: CheckState;
  /** Empty for a check that was not reached. */
  readonly facts: readonly UsedFact[];
}

export interface Explanation {
  readonly decision: Decision;
  readonly checks: readonly ExplainedCheck[];
  /** The commands with which a person decides instead of the approver. */
  readonly overrides: readonly string[];
}

/** Decides with the code of the controller, and shows the result of each check. */
export function explain(input: QuestionInput): Explanation {
  const question = new Question(input);
  const decision = evaluateQuestion(question);
  const failedAt = checks.findIndex(({ id }) => id === decision.failedCheck);
  return {
    decision,
    checks: checks.map(({ id, codes, passesIf, facts }, index) => {
      const state = stateOf(index, failedAt);
      const used = state === 'not reached' ? [] : (facts?.(question) ?? []);
      return { id, codes, passesIf, state, facts: used };
    }),
    overrides: overridesOf(question, decision),
  };
}

function stateOf(index: number, failedAt: number): CheckState {
  if (failedAt === -1 || index < failedAt) return 'passed';
  return index === failedAt ? 'failed' : 'not reached';
}

/** A decided CSR cannot be decided again. */
function overridesOf({ csr }: Question, { outcome, code }: Decision): string[] {
  if (code === 'NotPending') return [];
  const approve = `kubectl certificate approve ${csr.name}`;
  const denial = `kubectl certificate deny ${csr.name}`;
  if (outcome === 'approve') return [denial];
  return outcome === 'deny' ? [approve] : [approve, denial];
}

/** With its default settings, kube-controller-manager signs this many CSRs in a second. */
const signedPerSecond = 17;

/** Why an approved CSR may have no certificate; undefined for any other CSR. */
export function signerDelay(
  csr: QuestionInput['csr'],
  all: readonly QuestionInput['csr'][],
): string | undefined {
  if (!isUnsigned(csr)) return undefined;
  const waiting = all.filter(isUnsigned).length;
  const seconds = Math.ceil(waiting / signedPerSecond);
  return `the CSR is approved, and the signer has not issued the certificate; CSRs waiting for the signer: ${waiting}; kube-controller-manager signs about ${signedPerSecond} per second, so it needs ${seconds} s`;
}

function isUnsigned(csr: QuestionInput['csr']): boolean {
  return (
    csr.signerName === kubeletServingSigner &&
    csr.conditionTypes.includes('Approved') &&
    !csr.conditionTypes.includes('Failed') &&
    !csr.conditionTypes.includes('Denied') &&
    !csr.hasCertificate
  );
}
