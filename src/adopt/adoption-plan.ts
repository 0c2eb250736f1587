import { checkAgent } from './agent-checks.ts';
import type { AdoptionFacts } from './facts.ts';
import { planKubeconfig } from './kubeconfig-plan.ts';
import { checkKubelet } from './kubelet-checks.ts';
import type { Plan, PlanPart } from './plan.ts';
import { checkReadiness } from './readiness-checks.ts';
import { planRestart } from './restart-plan.ts';
import { planSettings } from './settings-plan.ts';

/**
 * What has to change for the kubelet to leave its certificates to the agent and use what
 * the agent keeps. Decides and changes nothing. The order of the steps is such that a
 * kubelet which starts between any two of them finds what it needs.
 */
export function planAdoption(facts: AdoptionFacts): Plan {
  const checks = joined([checkKubelet(facts), checkAgent(facts)]);
  // Whatever would be planned for another kubelet than this one is of no interest.
  if (checks.obstacles.length > 0) return checks;
  const changes = joined([planKubeconfig(facts), planSettings(facts)]);
  // A node that is handed over already is for doctor to examine.
  const readiness = changes.steps.length > 0 ? checkReadiness(facts) : {};
  const restart = planRestart(facts, changes.steps);
  return { ...joined([checks, changes, readiness]), ...(restart && { restart }) };
}

function joined(parts: readonly PlanPart[]): Required<PlanPart> {
  return {
    steps: parts.flatMap(({ steps = [] }) => steps),
    obstacles: parts.flatMap(({ obstacles = [] }) => obstacles),
    notes: parts.flatMap(({ notes = [] }) => notes),
  };
}
