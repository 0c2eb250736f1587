import type { AdoptionFacts } from './facts.ts';
import type { Restart, Step } from './plan.ts';
import type { SettingKey } from './wanted.ts';
import { flagValue, settingFlags } from './wanted.ts';

/** A kubelet reads its configuration, its flags and its kubeconfig when it starts, and never again. */
export const readOnce =
  'A running kubelet has read these files when it started, and does not look again';

/** Of an image, or a kubelet that does not run, the next start is early enough. */
export function planRestart(facts: AdoptionFacts, steps: readonly Step[]): Restart | undefined {
  const { kubelet } = facts;
  if (!facts.live || kubelet.running === undefined) return undefined;
  if (steps.length > 0) return restartOf(facts, readOnce);
  return isOutdated(facts)
    ? restartOf(facts, 'The running kubelet was started before its files were changed')
    : undefined;
}

export function restartOf({ kubelet }: Pick<AdoptionFacts, 'kubelet'>, why: string): Restart {
  const { unit, running } = kubelet;
  return unit === undefined
    ? { why, command: `start the kubelet with pid ${running?.pid ?? '?'} anew` }
    : { why, unit, command: `systemctl restart ${unit.replace(/\.service$/, '')}` };
}

function isOutdated({ kubelet, runs, wanted }: AdoptionFacts): boolean {
  const { running } = kubelet;
  if (running === undefined) return false;
  const changedAt = Date.parse(runs.standing.at(-1)?.manifest.finishedAt ?? '');
  const flags = running.flags.filter(({ name, value }) =>
    [...wanted.settings].some(
      ([key, expected]: readonly [SettingKey, boolean | string]) =>
        settingFlags[key] === name && flagValue(key, value) !== expected,
    ),
  );
  return running.startedAt < changedAt || flags.length > 0;
}
