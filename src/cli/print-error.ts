import { toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';

/**
 * `nodecertd: message (CODE)`, with the remedy on its own line. The code ends the first
 * line, so that it is easy to find even if a list of problems follows.
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

/**
 * Rewrites commander's `error: unknown option '--x'` and its optional `(Did you mean --y?)` in our format.
 * @param program the words before `--help`, such as `nodecertd certs`
 */
export function formatUsageError(text: string, program = 'nodecertd'): string {
  const [message = '', hint] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const guess = /\(Did you mean (?:one of )?(.+)\?\)/.exec(hint ?? '')?.[1];
  return formatFailure({
    code: 'USAGE',
    message: message.replace(/\.$/, ''),
    remedy: guess === undefined ? `See: ${program} --help` : `Did you mean ${guess}?`,
  });
}
