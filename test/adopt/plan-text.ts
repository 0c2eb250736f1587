import assert from 'node:assert/strict';
import type { AdoptionFacts } from '../../src/adopt/facts.ts';
import { planAdoption } from '../../src/adopt/plan-adoption.ts';
import type { Plan } from '../../src/adopt/plan.ts';
import { stepDiff } from '../../src/adopt/step-diff.ts';

/** `step kubeconfig`, `obstacle kubelet-flag`, `note self-signed`; each needs a sentence and a remedy. */
export function idsOf({ steps, obstacles, notes, restart }: Plan): string[] {
  for (const { id, what, remedy } of [...obstacles, ...notes]) {
    assert.ok(what.length > 0 && !what.endsWith('.') && remedy.length > 0, `${id}: ${what}`);
  }
  return [
    ...steps.map(({ id }) => `step ${id}`),
    ...obstacles.map(({ id }) => `obstacle ${id}`),
    ...notes.map(({ id }) => `note ${id}`),
    ...(restart === undefined ? [] : ['restart']),
  ];
}

export function planned(facts: AdoptionFacts): string[] {
  return idsOf(planAdoption(facts));
}

/** All differences of a plan, in order. */
export function diffsOf({ steps }: Plan): string {
  return steps.map(stepDiff).join('');
}

/** All texts of a plan. */
export function sentences({ obstacles, notes, steps }: Plan): string {
  return [...obstacles, ...notes, ...steps].map((part) => Object.values(part).join(' ')).join('\n');
}
