import { AgentError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';

/** Keys and list indexes from the root of the file: `['certificates', 0, 'name']`. */
export type ConfigPath = readonly (string | number)[];

/** One problem of the configuration. */
export interface Problem {
  readonly path: ConfigPath;
  /** The expected and the found value, without the place. */
  readonly message: string;
}

/** The path in the usual form: `certificates[0].subject.commonName`. */
export function formatPath(path: ConfigPath): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${showKey(part)}`,
    )
    .join('');
}

/**
 * A file of another kind can have keys with control characters, which must not reach a terminal.
 */
function showKey(key: string): string {
  return plainKey.test(key) && withoutSecrets(key) === key ? key : quote(key);
}

const plainKey = /^[\w/.-]{1,40}$/;

/**
 * The value for an error message: short, on one line, and without the content of maps and
 * lists. YAML reads a key file as one long string.
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

/** A problem with its place: `file:line: key`, or the name of a flag. */
export interface LocatedProblem {
  readonly place: string;
  readonly line: number;
  readonly message: string;
}

/** A file of another kind can have thousands of problems; one screenful is enough. */
const maxLines = 50;

/** All problems in one error, one per line, in the order of the file. */
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
    remedy: 'Correct the problems listed above, and start again',
  });
}
