import type * as v from 'valibot';
import { nearest } from './nearest.ts';
import type { ConfigPath, Problem } from './problem.ts';
import { describeValue } from './problem.ts';

/**
 * Turns a valibot issue into a problem that names the expected value, the found value, and the
 * nearest valid value.
 */
export function toProblem(issue: v.BaseIssue<unknown>, raw: unknown): Problem {
  const path = (issue.path ?? []).map(({ key }) =>
    typeof key === 'number' ? key : String(key),
  ) satisfies ConfigPath;
  const found = valueAt(raw, path);
  const expected = expectation(issue, found);
  if (found !== undefined) {
    return { path, message: `${expected}, found ${describeValue(found)}` };
  }
  // For a missing key of a map, valibot gives only the name of the key as the expectation.
  return {
    path,
    message: issue.type === 'strict_object' ? 'is required' : `is required: ${expected}`,
  };
}

function expectation(issue: v.BaseIssue<unknown>, found: unknown): string {
  // The schema gives its own message; those of valibot start with "Invalid".
  if (issue.kind !== 'schema' || issue.message.startsWith('expected')) return issue.message;
  const choices = [...(issue.expected ?? '').matchAll(/"([^"]*)"/g)].map(
    ([, choice = '']) => choice,
  );
  if (choices.length === 0) return `expected ${typeNames[issue.type] ?? issue.type}`;
  const guess = typeof found === 'string' ? nearest(found, choices) : undefined;
  return (
    (choices.length === 1 ? `expected ${choices[0]}` : `expected one of ${choices.join(', ')}`) +
    (guess === undefined || choices.length === 1 ? '' : ` (did you mean ${JSON.stringify(guess)}?)`)
  );
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  strict_object: 'a map',
  variant: 'a map',
};

/** The value at a path; undefined if there is none. */
export function valueAt(value: unknown, path: ConfigPath): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key)
        ? (inner as Record<string | number, unknown>)[key]
        : undefined,
    value,
  );
}
