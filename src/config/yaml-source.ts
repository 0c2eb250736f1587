import type { Document, Pair, YAMLError } from 'yaml';
import { LineCounter, isAlias, isMap, isPair, isScalar, isSeq, parseDocument } from 'yaml';
import { withoutSecrets } from '../core/printable.ts';
import type { ConfigPath, LocatedProblem } from './problem.ts';
import { configInvalid } from './problem.ts';

/** The values of a YAML text, and their lines. */
export interface YamlSource {
  readonly value: unknown;
  /** The line of the key, or of the nearest enclosing key that exists, counted from 1. */
  lineOf(path: ConfigPath): number;
}

/**
 * The limit for all uses of aliases together: enough for a configuration, too few for an alias
 * bomb.
 */
const maxAliasCount = 100;

/**
 * @throws AgentError CONFIG_INVALID naming every syntax error, duplicate key and unknown tag
 * with its line
 */
export function parseYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      // Otherwise yaml passes warnings to process.emitWarning. The errors are in the document.
      logLevel: 'error',
    });
    const faults = [...document.errors, ...document.warnings].map((fault) => {
      const { line } = lines.linePos(fault.pos[0]);
      return { place: `${file}:${line}`, line, message: describeFault(fault, text) };
    });
    if (faults.length > 0) throw configInvalid(file, faults);
    const value: unknown = document.toJS({ maxAliasCount });
    return { value, lineOf: (path) => lines.linePos(offsetOf(document, path)).line };
  } catch (error) {
    throw error instanceof Error && error.name === 'AgentError' ? error : unparsable(file, error);
  }
}

/**
 * Other errors of the parser: an alias without an anchor, too many aliases, or too deep
 * nesting.
 */
function unparsable(file: string, error: unknown): Error {
  const fault: LocatedProblem = {
    place: file,
    line: 0,
    message:
      error instanceof RangeError
        ? 'nested too deeply'
        : yamlFault(error instanceof Error ? error.message : String(error)),
  };
  // Omits the cause, because its message may contain a secret.
  return configInvalid(file, [fault]);
}

function describeFault({ code, pos, message }: YAMLError, text: string): string {
  if (code === 'MULTIPLE_DOCS') return 'expected one YAML document, found another';
  if (code !== 'DUPLICATE_KEY') return yamlFault(message);
  const [key = ''] = /^[^\s:]*/.exec(text.slice(pos[0], pos[0] + 80)) ?? [];
  return `the key ${withoutSecrets(key)} exists twice`;
}

/**
 * The parser's messages begin with a capital, end with a period or a quoted line, and quote
 * the text, which may be a secret.
 */
function yamlFault(message: string): string {
  const [first = ''] = message.split('\n');
  const sentence = first.charAt(0).toLowerCase() + first.slice(1).replace(/[.:]$/, '');
  return `not valid YAML: ${withoutSecrets(sentence, 200)}`;
}

function offsetOf(document: Document, path: ConfigPath): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const key of path) {
    const container = isAlias(node) ? node.resolve(document) : node;
    const child = childOf(container, key);
    if (child === undefined) return offset;
    offset = startOf(isPair(child) ? child.key : child) ?? offset;
    node = isPair(child) ? child.value : child;
  }
  return offset;
}

function childOf(container: unknown, key: string | number): unknown {
  if (isSeq(container)) return container.items[Number(key)];
  if (!isMap(container)) return undefined;
  return container.items.find((pair: Pair) => {
    const name: unknown = isScalar(pair.key) ? pair.key.value : pair.key;
    return String(name) === String(key);
  });
}

function startOf(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  const { range } = node as { range?: readonly number[] | null };
  return range?.[0];
}
