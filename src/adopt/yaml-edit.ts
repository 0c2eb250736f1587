import { isDeepStrictEqual } from 'node:util';
import type { Document, Pair, YAMLMap } from 'yaml';
import { isMap, isScalar, parseDocument, stringify } from 'yaml';

export type KeyPath = readonly (string | number)[];

/** One key of a map and what it shall be; without a value it is taken out. */
export interface KeyEdit {
  readonly path: KeyPath;
  readonly value?: string | boolean;
  /** A new key stands before this one, else at the end. */
  readonly before?: string;
}

/**
 * Changes keys in a YAML or JSON text and leaves every other byte of it as it is, so that
 * comments and order stay and the difference is what was meant. The library's own output
 * would indent lists and fold lines anew. What comes out is parsed and compared with what
 * was wanted; undefined where that does not hold or the text cannot be edited so (a map
 * in braces, an anchor, two documents, a syntax error).
 */
export function editYaml(text: string, edits: readonly KeyEdit[]): string | undefined {
  const wanted = valueOf(text);
  if (wanted === undefined) return undefined;
  for (const edit of edits) if (!change(wanted, edit)) return undefined;
  const edited = isJson(text) ? jsonLike(text, wanted) : spliced(text, edits);
  return edited !== undefined && isDeepStrictEqual(valueOf(edited), wanted) ? edited : undefined;
}

function documentOf(text: string): Document.Parsed {
  return parseDocument(text, { prettyErrors: false, logLevel: 'error' });
}

/** A text that is parsed as a map of keys. */
export function isYamlMap(text: string | undefined): boolean {
  const value = text === undefined ? undefined : valueOf(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A copy of its own each time. */
function valueOf(text: string): unknown {
  try {
    const document = documentOf(text);
    return document.errors.length > 0 ? undefined : (document.toJS() as unknown);
  } catch {
    // Too many aliases, or nested too deeply.
    return undefined;
  }
}

/** The edit on the plain value; false when there is no such map. */
function change(root: unknown, { path, value }: KeyEdit): boolean {
  const parent = path.slice(0, -1).reduce<unknown>(member, root);
  const key = path.at(-1);
  if (typeof parent !== 'object' || parent === null || Array.isArray(parent)) return false;
  if (typeof key !== 'string') return false;
  if (value === undefined) Reflect.deleteProperty(parent, key);
  else Reflect.set(parent, key, value);
  return true;
}

function member(value: unknown, key: string | number): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string | number, unknown>)[key]
    : undefined;
}

/** The kubelet and client-go read what begins with a brace as JSON, where keys need their quotes. */
function isJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

function jsonLike(text: string, value: unknown): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  const indent = /^\s*\{\r?\n(?<indent>[ \t]+)"/.exec(text)?.groups?.['indent'];
  return `${JSON.stringify(value, undefined, indent)}${/\s*$/.exec(text)?.[0] ?? ''}`;
}

interface Splice {
  readonly start: number;
  readonly end: number;
  readonly insert: string;
}

function spliced(text: string, edits: readonly KeyEdit[]): string | undefined {
  let edited = text;
  for (const edit of edits) {
    const splice = spliceFor(edited, edit);
    if (splice === undefined) return undefined;
    edited = edited.slice(0, splice.start) + splice.insert + edited.slice(splice.end);
  }
  return edited;
}

const unchanged: Splice = { start: 0, end: 0, insert: '' };

function spliceFor(text: string, { path, value, before }: KeyEdit): Splice | undefined {
  const document = documentOf(text);
  const map = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (!isMap(map) || map.flow === true || map.items.length === 0) return undefined;
  const pair = pairOf(map, path.at(-1));
  if (value === undefined) return pair === undefined ? unchanged : removal(text, pair);
  const scalar = scalarText(value);
  if (pair !== undefined) return replacement(text, pair, scalar);
  const line = `${columnOf(text, map)}${String(path.at(-1))}: ${scalar}${lineBreak(text)}`;
  return insertion(text, line, { map, before: pairOf(map, before) });
}

/** Quoted where either version of YAML takes it for something else than text: readers differ. */
function scalarText(value: string | boolean): string {
  return stringify(value, { lineWidth: 0, version: '1.1', compat: 'core' }).trimEnd();
}

function pairOf(map: YAMLMap, key: string | number | undefined): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

function lineBreak(text: string): string {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

/** The indentation of the keys of a map, as spaces. */
function columnOf(text: string, map: YAMLMap): string {
  const start = startOf(map.items[0]?.key) ?? 0;
  return ' '.repeat(start - lineStart(text, start));
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

/** Behind the line on which something ends; a block of text ends behind its last line already. */
function lineEnd(text: string, offset: number): number {
  if (text[offset - 1] === '\n') return offset;
  const end = text.indexOf('\n', offset);
  return end === -1 ? text.length : end + 1;
}

function rangeOf(node: unknown): readonly [number, number] | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  const [start, end] = (node.range ?? []) as readonly number[];
  return start === undefined || end === undefined ? undefined : [start, end];
}

function startOf(node: unknown): number | undefined {
  return rangeOf(node)?.[0];
}

function replacement(text: string, { key, value }: Pair, insert: string): Splice | undefined {
  const range = rangeOf(value);
  if (!isScalar(value) || range === undefined) return undefined;
  if (value.anchor !== undefined || value.tag !== undefined) return undefined;
  const [start, end] = range;
  if (start < end) return { start, end, insert };
  const colon = text.indexOf(':', rangeOf(key)?.[1]) + 1;
  return colon === 0 ? undefined : { start: colon, end: colon, insert: ` ${insert}` };
}

function removal(text: string, { key, value }: Pair): Splice | undefined {
  const start = startOf(key);
  const end = rangeOf(value)?.[1];
  if (start === undefined || end === undefined) return undefined;
  const from = lineStart(text, start);
  if (text.slice(from, start).trim() !== '') return undefined;
  return { start: from, end: lineEnd(text, end), insert: '' };
}

function insertion(
  text: string,
  line: string,
  { map, before }: { readonly map: YAMLMap; readonly before: Pair | undefined },
): Splice | undefined {
  const start = startOf(before?.key);
  if (start !== undefined) {
    const at = lineStart(text, start);
    return text.slice(at, start).trim() === '' ? { start: at, end: at, insert: line } : undefined;
  }
  const last = map.items.at(-1);
  const end = rangeOf(last?.value)?.[1] ?? rangeOf(last?.key)?.[1];
  if (end === undefined) return undefined;
  const at = lineEnd(text, end);
  const gap = at > 0 && text[at - 1] !== '\n' ? lineBreak(text) : '';
  return { start: at, end: at, insert: gap + line };
}
