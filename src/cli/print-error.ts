import { toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';

/**
 * `nodecertd: message (CODE)` and the remedy on a line of its own. The code follows
 * the first line, where it is found also when a list of problems comes after it.
 */
export function formatFailure({ code, message, remedy }: Failure): string {
  const [first = '', ...rest] = message.split('\n');
  return [
    `nodecertd: ${first} (${code})`,
    ...rest,
    ...(remedy === undefined ? [] : [`  → ${remedy}`]),
    '',
  ].join('\n');
}

export function formatError(error: unknown): string {
  return formatFailure(toFailure(error));
}

/** commander's own sentence, `error: unknown option '--x'` and perhaps `(Did you mean --y?)`, in our form. */
export function formatUsageError(text: string): string {
  const [message = '', hint] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const guess = /\(Did you mean (?:one of )?(.+)\?\)/.exec(hint ?? '')?.[1];
  return formatFailure({
    code: 'USAGE',
    message: message.replace(/\.$/, ''),
    remedy: guess === undefined ? 'see nodecertd --help' : `did you mean ${guess}?`,
  });
}
