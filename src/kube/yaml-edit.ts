import { isDeepStrictEqual } from 'node:util';
import type { CST, Pair, YAMLMap } from 'yaml';
import {
  CST as cst,
  Composer,
  Parser,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  stringify,
} from 'yaml';

export type KeyPath = readonly (string | number)[];

/**
 * One key of a map and its new value; without a value the key is removed. An entry of a list can
 * only get another string.
 */
export interface KeyEdit {
  readonly path: KeyPath;
  readonly value?: NewValue;
}

/** A scalar, or a small map, which is written in braces. */
type NewValue = string | boolean | Readonly<Record<string, string>>;

/**
 * Changes keys in a YAML or JSON text and keeps every other byte, so that comments and
 * order stay and the difference shows the edits alone. The result is parsed and compared
 * with the intended value. Undefined when they differ, or when the text cannot be edited
 * in this way (an anchor, two documents, a syntax error).
 */
export function editYaml(text: string, edits: readonly KeyEdit[]): string | undefined {
  const intended = valueOf(text, edits);
  if (intended === undefined) return undefined;
  const edited = edits.reduce<string | undefined>(
    (before, edit) => before && withEdit(before, edit),
    text,
  );
  return edited && isDeepStrictEqual(valueOf(edited), intended) ? edited : undefined;
}

/** True for a text that parses as a map of keys. */
export function isYamlMap(text: string | undefined): boolean {
  const value = text === undefined ? undefined : valueOf(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** client-go and the kubelet read a text that begins with a brace as JSON. */
function isJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** The parsed value after the edits; undefined for a text that does not parse. */
function valueOf(text: string, edits: readonly KeyEdit[] = []): unknown {
  try {
    if (isJson(text)) JSON.parse(text);
    const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
    for (const { path, value } of edits) {
      if (value === undefined) document.deleteIn(path);
      else document.setIn(path, document.createNode(value));
    }
    return document.errors.length > 0 ? undefined : (document.toJS() as unknown);
  } catch {
    // A syntax error, too many aliases, nested too deeply, or no such map.
    return undefined;
  }
}

function withEdit(text: string, { path, value }: KeyEdit): string | undefined {
  const tokens = [...new Parser().parse(text)];
  const [document] = new Composer({ keepSourceTokens: true }).compose(tokens);
  const map = path.length === 1 ? document?.contents : document?.getIn(path.slice(0, -1), true);
  if (isSeq(map)) return withScalar({ text, tokens, node: map.items[Number(path.at(-1))], value });
  if (!isMap(map) || map.items.length === 0) return undefined;
  const pair = pairOf(map, path.at(-1));
  if (value === undefined) return pair === undefined ? text : removed(text, map, pair);
  if (pair !== undefined) return replaced({ text, tokens, pair, value });
  const entry = `${scalarText(text, String(path.at(-1)))}: ${scalarText(text, value)}`;
  return inserted(text, entry, map);
}

function pairOf(map: YAMLMap, key: string | number | undefined): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

/**
 * Quotes a string that YAML 1.1 or 1.2 would read as another type, because readers use either
 * version.
 */
function scalarText(text: string, value: NewValue): string {
  if (isJson(text) || typeof value === 'object') return JSON.stringify(value);
  return stringify(value, { lineWidth: 0, version: '1.1', compat: 'core' }).trimEnd();
}

function replaced({
  text,
  tokens,
  pair,
  value,
}: {
  readonly text: string;
  readonly tokens: readonly CST.Token[];
  readonly pair: Pair;
  readonly value: NewValue;
}): string | undefined {
  const source = scalarText(text, value);
  const [start, end] = rangeOf(pair.value);
  if (start === end) {
    const colon = text.indexOf(':', rangeOf(pair.key)[1]) + 1;
    return colon === 0 ? undefined : splice(text, [colon, colon], ` ${source}`);
  }
  return withScalar({ text, tokens, node: pair.value, value });
}

/** Replaces a scalar with another one. */
function withScalar({
  text,
  tokens,
  node,
  value,
}: {
  readonly text: string;
  readonly tokens: readonly CST.Token[];
  readonly node: unknown;
  readonly value: NewValue | undefined;
}): string | undefined {
  if (!isScalar(node) || node.anchor !== undefined || node.tag !== undefined) return undefined;
  const { srcToken } = node;
  if (srcToken === undefined || value === undefined || typeof value === 'object') return undefined;
  const type = typeof value === 'string' ? quotesOf(srcToken, scalarText(text, value)) : 'PLAIN';
  cst.setScalarValue(srcToken, String(value), { type });
  return tokens.map((token) => cst.stringify(token)).join('');
}

/** The new string has the quotes of the old one. A string without quotes gets them if it needs them. */
function quotesOf({ type }: CST.Token, source: string): 'QUOTE_SINGLE' | 'QUOTE_DOUBLE' | 'PLAIN' {
  if (type === 'single-quoted-scalar') return 'QUOTE_SINGLE';
  return type === 'double-quoted-scalar' || source.startsWith('"') ? 'QUOTE_DOUBLE' : 'PLAIN';
}

/** Removes the lines of a key, or the key and its comma from a map in braces. */
function removed(text: string, map: YAMLMap, pair: Pair): string | undefined {
  const { start, end } = extentOf(pair);
  if (map.flow === true) {
    const at = map.items.indexOf(pair);
    const [previous, next] = [map.items[at - 1], map.items[at + 1]];
    if (next !== undefined) return splice(text, [start, extentOf(next).start]);
    return splice(text, [previous === undefined ? start : extentOf(previous).end, end]);
  }
  const from = lineStart(text, start);
  return text.slice(from, start).trim() === ''
    ? splice(text, [from, lineEnd(text, end)])
    : undefined;
}

/** Adds a key after the last key, with the indentation of the first key. */
function inserted(text: string, entry: string, map: YAMLMap): string | undefined {
  const [first, last] = [map.items[0], map.items.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const { end } = extentOf(last);
  if (map.flow === true) {
    // The same blanks as before the last key.
    const gap = /[{,](\s*)$/.exec(text.slice(0, extentOf(last).start))?.[1] ?? ' ';
    return splice(text, [end, end], `,${gap}${entry}`);
  }
  const lineBreak = text.includes('\r\n') ? '\r\n' : '\n';
  const { start } = extentOf(first);
  const indent = ' '.repeat(start - lineStart(text, start));
  const at = lineEnd(text, end);
  const gap = text[at - 1] === '\n' ? '' : lineBreak;
  return splice(text, [at, at], `${gap}${indent}${entry}${lineBreak}`);
}

function splice(text: string, [from, to]: readonly [number, number], insert = ''): string {
  return text.slice(0, from) + insert + text.slice(to);
}

function extentOf({ key, value }: Pair): { readonly start: number; readonly end: number } {
  const [start, keyEnd] = rangeOf(key);
  return { start, end: Math.max(keyEnd, rangeOf(value)[1]) };
}

function rangeOf(node: unknown): readonly [start: number, end: number] {
  const found = typeof node === 'object' && node !== null && 'range' in node ? node.range : [];
  const [start = 0, end = 0] = (found ?? []) as readonly number[];
  return [start, end];
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

/**
 * The offset after the line that contains `offset`. A block scalar already ends after its last
 * line.
 */
function lineEnd(text: string, offset: number): number {
  if (text[offset - 1] === '\n') return offset;
  const end = text.indexOf('\n', offset);
  return end === -1 ? text.length : end + 1;
}
