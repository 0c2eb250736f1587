import type * as v from 'valibot';
import { nearest } from './nearest.ts';
import type { ConfigPath, Problem } from './problem.ts';

/** The parts of a valibot schema that this file reads. */
interface SchemaNode {
  readonly type: string;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly wrapped?: SchemaNode;
  readonly item?: SchemaNode;
  readonly options?: readonly SchemaNode[];
  readonly key?: string;
  readonly literal?: unknown;
}

interface Place {
  readonly schema: SchemaNode;
  readonly path: ConfigPath;
  readonly problems: Problem[];
}

/**
 * Reports every key that the schema does not know, and returns the value without these keys.
 * valibot stops at the first unknown key of a map and calls the whole map invalid. Without
 * unknown keys, it checks everything else too.
 */
export function dropUnknownKeys(
  schema: v.GenericSchema,
  value: unknown,
): { readonly known: unknown; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const known = walk(value, { schema, path: [], problems });
  return { known, problems };
}

function walk(value: unknown, place: Place): unknown {
  const { schema, path, problems } = place;
  if (schema.wrapped !== undefined) {
    return walk(value, { ...place, schema: schema.wrapped });
  }
  if (schema.item !== undefined && Array.isArray(value)) {
    const { item } = schema;
    return value.map((element, index) =>
      walk(element, { schema: item, path: [...path, index], problems }),
    );
  }
  if (schema.type === 'variant') return walkVariant(value, place);
  if (schema.entries === undefined) return value;
  // valibot accepts a list as a map, but reports null.
  return isMap(value) ? walkEntries(value, place, () => undefined) : null;
}

/** A key of another profile gets its own message, because the key is not misspelled. */
function walkVariant(value: unknown, place: Place): unknown {
  const { key = '', options = [] } = place.schema;
  if (!isMap(value)) return null;
  const all = unionOf(options);
  const choice = value[intendedKey(value, key, all)];
  const chosen = options.find((option) => option.entries?.[key]?.literal === choice);
  // With an invalid choice, a key is unknown only if no option has it.
  if (chosen === undefined) return walkEntries(value, { ...place, schema: all }, () => undefined);
  return walkEntries(value, { ...place, schema: chosen }, (name) =>
    Object.hasOwn(all.entries, name) ? `does not apply to ${key} ${String(choice)}` : undefined,
  );
}

/** One map with the keys of all options. Common keys have the same schema in each. */
function unionOf(
  options: readonly SchemaNode[],
): SchemaNode & { readonly entries: Readonly<Record<string, SchemaNode>> } {
  const entries = Object.assign({}, ...options.map((option) => option.entries)) as Record<
    string,
    SchemaNode
  >;
  return { type: 'strict_object', entries };
}

/**
 * If `profile` is missing and a key is similar, such as `profil`, that key counts as the
 * profile, so that the other keys can be checked.
 */
function intendedKey(
  value: Readonly<Record<string, unknown>>,
  key: string,
  { entries = {} }: SchemaNode,
): string {
  if (Object.hasOwn(value, key)) return key;
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(entries, name));
  return unknown.find((name) => nearest(name, Object.keys(entries)) === key) ?? key;
}

function walkEntries(
  value: Readonly<Record<string, unknown>>,
  { schema, path, problems }: Place,
  objection: (name: string) => string | undefined,
): Record<string, unknown> {
  const entries = schema.entries ?? {};
  const known: Record<string, unknown> = {};
  for (const [name, element] of Object.entries(value)) {
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
    const at = [...path, name];
    if (entry === undefined) {
      const message = objection(name) ?? unknownKey(name, Object.keys(entries));
      problems.push({ path: at, message });
    } else {
      known[name] = walk(element, { schema: entry, path: at, problems });
    }
  }
  return known;
}

function unknownKey(name: string, known: readonly string[]): string {
  const guess = nearest(name, known);
  return guess === undefined
    ? `unknown key; known here: ${known.join(', ')}`
    : `unknown key; did you mean ${JSON.stringify(guess)}?`;
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
