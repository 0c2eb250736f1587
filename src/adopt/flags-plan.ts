import type { Origin } from '../kubelet/command-word.ts';
import { showOrigin } from '../kubelet/command-word.ts';
import { withoutWords } from './environment-file.ts';
import type { AdoptionFacts } from './facts.ts';
import type { KubeletFlag } from '../kubelet/flags.ts';
import type { Obstacle, PlanPart, Step } from './plan.ts';
import { flagValue, settingFlags } from './wanted.ts';

/** Flags override every file: those that say otherwise have to go. */
export function planFlags(facts: AdoptionFacts): PlanPart {
  const contrary = contraryFlags(facts);
  const edits = Map.groupBy(contrary, (flag) => editableFile(flag));
  const steps: Step[] = [];
  const obstacles = (edits.get(undefined) ?? []).map((flag) => inTheWay(facts, flag));
  for (const [file, flags] of edits) {
    if (file === undefined) continue;
    const step = withoutFlags(facts, file, flags);
    if (step === undefined) obstacles.push(...flags.map((flag) => inTheWay(facts, flag)));
    else steps.push(step);
  }
  return { steps, obstacles };
}

/** Also those that a later one overrides: they would count again once that one is gone. */
function contraryFlags({ kubelet, wanted }: AdoptionFacts): KubeletFlag[] {
  return [...wanted.settings].flatMap(([key, value]) =>
    kubelet.flags
      .filter(({ name }) => name === settingFlags[key])
      .filter((flag) => flagValue(key, flag.value) !== value),
  );
}

/** The environment file that holds all words of a flag, in one variable. */
function editableFile({ words }: KubeletFlag): string | undefined {
  const places = new Set(words.map(({ origin }) => placeOf(origin)));
  const [origin] = words.map((word) => word.origin);
  if (places.size !== 1 || origin?.kind !== 'variable' || !origin.plainFile) return undefined;
  return origin.file;
}

function placeOf(origin: Origin): string {
  return origin.kind === 'variable' ? `${origin.file}:${origin.line}` : origin.kind;
}

function withoutFlags(
  { texts }: AdoptionFacts,
  file: string,
  flags: readonly KubeletFlag[],
): Step | undefined {
  const before = texts.get(file);
  let after = before;
  const origins = flags.flatMap(({ words }) => words.map(({ origin }) => origin));
  const inFile = origins.filter((origin) => origin.kind === 'variable');
  for (const [line, found] of Map.groupBy(inFile, (origin) => origin.line)) {
    const words = new Set(found.map(({ word }) => word));
    after = after === undefined ? undefined : withoutWords(after, { line, words });
  }
  if (before === undefined || after === undefined) return undefined;
  return {
    id: 'kubelet-flags',
    file,
    form: 'text',
    what: `without ${flags.map(shown).join(', ')}`,
    why: 'A flag overrides what the configuration of the kubelet says',
    before,
    after,
  };
}

function shown({ name, value }: KubeletFlag): string {
  return `--${name}=${value}`;
}

function inTheWay({ kubelet }: AdoptionFacts, flag: KubeletFlag): Obstacle {
  const [origin] = flag.words.map((word) => word.origin);
  const place = origin === undefined ? 'its command line' : showOrigin(origin);
  return {
    id: 'kubelet-flag',
    what: `${shown(flag)} in ${place} overrides the configuration of the kubelet`,
    why: 'It cannot be taken out from here without changing more than that',
    remedy:
      origin?.kind === 'process'
        ? `Take it out of what ${kubelet.unit ?? 'you'} start${kubelet.unit === undefined ? '' : 's'} the kubelet with, start that anew, and run this again`
        : `Take it out of ${place}, run systemctl daemon-reload, and this again`,
  };
}
