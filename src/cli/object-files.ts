import * as v from 'valibot';
import { LineCounter, parseAllDocuments } from 'yaml';
import type { FoundObject } from '../approver/cluster-objects.ts';
import { readText } from '../config/read-text.ts';
import { AgentError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';

/** The output of `kubectl get … -o yaml` for thousands of objects. */
const textKind = { what: 'the file', option: '--file', maxMiB: 64 };

/**
 * The objects of files as kubectl writes them: JSON or YAML, one or more documents, and lists.
 * @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID
 */
export async function readObjectFiles(files: readonly string[]): Promise<FoundObject[]> {
  const found: FoundObject[] = [];
  for (const file of files) found.push(...objectsIn(await readText(file, textKind), file));
  return found;
}

/** @throws AgentError CONFIG_INVALID */
export function objectsIn(text: string, file: string): FoundObject[] {
  const documents = text.trimStart().startsWith('{')
    ? [{ value: parseJson(text, file), place: file }]
    : parseYamlDocuments(text, file);
  return documents.flatMap(({ value, place }) => expand(value, place));
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(`${file} is not valid JSON`);
  }
}

function parseYamlDocuments(text: string, file: string) {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
  });
  return [...documents].map((document) => {
    const [fault] = document.errors;
    const offset = fault?.pos[0] ?? document.contents?.range?.[0] ?? 0;
    const place = `${file}:${lines.linePos(offset).line}`;
    if (fault !== undefined) throw invalid(`${place}: not valid YAML (${fault.code})`);
    try {
      return { value: document.toJS({ maxAliasCount: 100 }) as unknown, place };
    } catch {
      throw invalid(`${place}: has too many YAML aliases or levels`);
    }
  });
}

const objectSchema = v.looseObject({ kind: v.string() });
const listSchema = v.looseObject({ items: v.array(v.unknown()) });

function expand(value: unknown, place: string): FoundObject[] {
  if (value === null || value === undefined) return [];
  const object = v.safeParse(objectSchema, value);
  if (!object.success) throw invalid(`${place}: is not a Kubernetes object: it has no kind`);
  const { kind } = object.output;
  const list = v.safeParse(listSchema, value);
  if (!kind.endsWith('List') || !list.success) return [{ kind, value, place }];
  // The items of a List have a kind, those of a NodeList do not.
  const ofItems = kind === 'List' ? undefined : kind.slice(0, -'List'.length);
  return list.output.items.flatMap((item, index) => {
    const where = `${place}: items[${index}]`;
    return ofItems === undefined
      ? expand(item, where)
      : [{ kind: ofItems, value: item, place: where }];
  });
}

/** @throws AgentError CONFIG_INVALID with the place and the field, without its value */
export function parseFoundObject<T>(schema: v.GenericSchema<unknown, T>, found: FoundObject): T {
  const result = v.safeParse(schema, found.value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = v.getDotPath(issue) ?? 'the object';
  throw invalid(
    `${found.place}: ${withoutSecrets(found.kind, 50)}: ${withoutSecrets(field, 100)} must be ${issue.expected ?? 'valid'}`,
  );
}

function invalid(message: string): AgentError {
  return new AgentError('CONFIG_INVALID', message, {
    remedy: 'Save the objects again: kubectl get csr,nodes -o yaml > cluster.yaml',
  });
}
