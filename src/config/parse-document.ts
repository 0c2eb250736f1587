import * as v from 'valibot';
import { toProblem } from './issues.ts';
import { dropUnknownKeys } from './known-keys.ts';
import type { ConfigPath } from './problem.ts';
import { configInvalid, formatPath } from './problem.ts';
import { parseYaml } from './yaml-source.ts';

/**
 * Parses a YAML or JSON file of one document.
 * @throws AgentError CONFIG_INVALID with one line for each problem
 */
export function parseDocument<T>(
  text: string,
  file: string,
  schema: v.GenericSchema<unknown, T>,
): T {
  const source = parseYaml(text, file);
  const { known, problems: unknown } = dropUnknownKeys(schema, source.value);
  const parsed = v.safeParse(schema, known);
  const problems = [
    ...unknown,
    ...(parsed.issues ?? []).map((issue) => toProblem(issue, source.value)),
  ];
  if (parsed.success && problems.length === 0) return parsed.output;
  throw configInvalid(
    file,
    problems.map(({ path, message }) => ({ ...placeOf(path), message })),
  );

  function placeOf(path: ConfigPath): { readonly place: string; readonly line: number } {
    const line = source.lineOf(path);
    const key = formatPath(path);
    return { place: `${file}:${line}${key === '' ? '' : `: ${key}`}`, line };
  }
}
