import { systemctlCommand } from '../kubelet/restart.ts';
import { checkAgent } from './agent-checks.ts';
import type { AdoptionFacts } from './facts.ts';
import { planKubeconfig } from './kubeconfig-plan.ts';
import { checkKubelet } from './kubelet-checks.ts';
import type { Plan, PlanPart, Restart, Step } from './plan.ts';
import { checkReadiness } from './readiness-checks.ts';
import { planSettings } from './settings-plan.ts';

/**
 * Plans the changes after which the kubelet uses the certificates that nodecertd keeps, and
 * rotates none itself. Changes no file. A kubelet that starts between any two steps finds all
 * files that it needs.
 */
export function planAdoption(facts: AdoptionFacts): Plan {
  const checks = joined([checkKubelet(facts), checkAgent(facts)]);
  // Changes for the wrong kubelet would be misleading.
  if (checks.obstacles.length > 0) return checks;
  const changes = joined([planKubeconfig(facts), planSettings(facts)]);
  // On an adopted node, doctor checks the certificates.
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

/**
 * A kubelet that is not running, on this machine or in an image, reads the files at its next
 * start.
 */
function planRestart(facts: AdoptionFacts, steps: readonly Step[]): Restart | undefined {
  if (steps.length > 0) return restartOf(facts);
  return isOutdated(facts)
    ? restartOf(facts, 'The running kubelet was started before its files were changed')
    : undefined;
}

/** Undefined when no kubelet runs. */
export function restartOf(
  { live, kubelet }: Pick<AdoptionFacts, 'live' | 'kubelet'>,
  why = 'The kubelet reads these files only when it starts',
): Restart | undefined {
  const { unit, running } = kubelet;
  if (!live || running === undefined) return undefined;
  return unit === undefined
    ? { why, command: `restart the kubelet, which runs with pid ${running.pid}` }
    : { why, unit, command: systemctlCommand('restart', unit) };
}

function isOutdated({ kubelet, runs, now }: AdoptionFacts): boolean {
  const changedAt = Date.parse(runs.active.at(-1)?.manifest.finishedAt ?? '');
  return kubelet.running !== undefined && now - kubelet.running.ageMs < changedAt;
}
