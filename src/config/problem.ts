import { AgentError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';

/** Keys and list indexes from the top of the file: `['certificates', 0, 'name']`. */
export type ConfigPath = readonly (string | number)[];

/** One thing wrong with the configuration, in words that a person can act on. */
export interface Problem {
  readonly path: ConfigPath;
  /** What was expected and what was found, without the place. */
  readonly message: string;
}

/** `certificates[0].subject.commonName`, as people write it. */
export function formatPath(path: ConfigPath): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${showKey(part)}`,
    )
    .join('');
}

/** A key may be anything in a file that is no configuration: nobody's terminal is to act on it. */
function showKey(key: string): string {
  return plainKey.test(key) && withoutSecrets(key) === key ? key : quote(key);
}

const plainKey = /^[\w/.-]{1,40}$/;

/**
 * The value as it may be shown in an error: short, on one line, and never the inside
 * of a map or list. A key file that is named by mistake is one long text to YAML.
 */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a map';
  return `${value as number | boolean | null}`;
}

function quote(text: string): string {
  return JSON.stringify(withoutSecrets(text, 79));
}

/** A problem with the place where it is mended: `file:line: key` or the name of a flag. */
export interface LocatedProblem {
  readonly place: string;
  readonly line: number;
  readonly message: string;
}

/** A file that is no configuration at all has thousands; nobody reads more than a screen. */
const maxLines = 50;

/** All problems in one error, one a line, in the order of the file. */
export function configInvalid(subject: string, problems: readonly LocatedProblem[]): AgentError {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  const lines = [...new Set(sorted.map(({ place, message }) => `${place}: ${message}`))];
  const [only = subject, ...more] = lines;
  const shown = lines.slice(0, maxLines);
  if (lines.length > shown.length) shown.push(`and ${lines.length - shown.length} more`);
  const message =
    more.length === 0
      ? only
      : [`${subject} has ${lines.length} problems`, ...shown.map((line) => `  ${line}`)].join('\n');
  return new AgentError('CONFIG_INVALID', message, {
    remedy: 'correct what is named above and start again',
  });
}
