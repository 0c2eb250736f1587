import { concealedText, concealedYaml } from './concealed.ts';
import type { Step } from './plan.ts';
import { unifiedDiff } from './unified-diff.ts';

/** What a step changes, without a secret in it. */
export function stepDiff({ file, form, before, after }: Step): string {
  const conceal = form === 'yaml' ? concealedYaml : concealedText;
  const [left, right] = [before, after].map((text) =>
    text === undefined ? undefined : conceal(text),
  );
  const unreadable =
    (before !== undefined && left === undefined) || (after !== undefined && right === undefined);
  if (unreadable) return `${file} cannot be parsed, so that its secrets are not known: not shown\n`;
  const diff = unifiedDiff({ file, before: left, after: right });
  if (diff !== '') return diff;
  return before === after ? '' : `${file} differs in what is not shown only\n`;
}
