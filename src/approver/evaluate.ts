import type { Check } from './checks/check.ts';
import { checks } from './checks/all-checks.ts';
import type { Decision, Finding } from './decision.ts';
import { conditionMessage } from './condition-message.ts';
import { Question } from './checks/question.ts';
import type { QuestionInput } from './checks/question.ts';

/**
 * Evaluates one CSR: the first check that fails decides. Depends on its input only, and
 * changes nothing. If the finding needs a fresh Node, the decision is not final.
 */
export function evaluate(input: QuestionInput): Decision {
  return evaluateQuestion(new Question(input));
}

export function evaluateQuestion(question: Question): Decision {
  for (const check of checks) {
    const finding = check.judge(question);
    if (finding !== undefined) return decided(question, check, finding);
  }
  return {
    outcome: 'approve',
    code: 'ServingPolicyPassed',
    failedCheck: undefined,
    finding: undefined,
    message: conditionMessage(question, 'the CSR passed every check'),
  };
}

/** In the mode approve-only, a denial becomes a hold, and a person approves or denies the CSR. */
function decided(question: Question, { id }: Check, found: Finding): Decision {
  const isSpared = found.outcome === 'deny' && question.policy.mode === 'approve-only';
  const finding: Finding = isSpared ? { ...found, outcome: 'hold' } : found;
  return {
    outcome: finding.outcome,
    code: finding.code,
    failedCheck: id,
    finding,
    message: conditionMessage(question, finding.message),
  };
}
