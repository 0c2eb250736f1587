import * as v from 'valibot';
import type { Document } from 'yaml';
import { LineCounter, isNode, parseDocument } from 'yaml';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';

/** Where in the document: `['users', 0, 'user', 'token']`. */
export type KeyPath = readonly (string | number)[];

/**
 * The YAML of a kubeconfig with the lines its keys stand on. No error made here
 * shows a value or a piece of the text: either may be a token or a key.
 */
export class KubeconfigDocument {
  readonly path: string;
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #root: unknown;

  /** @throws AgentError KUBECONFIG_INVALID */
  constructor(path: string, text: string) {
    this.path = path;
    this.#lines = new LineCounter();
    try {
      this.#document = parseDocument(text, {
        lineCounter: this.#lines,
        prettyErrors: false,
        logLevel: 'error',
      });
      this.#root = this.#document.errors.length === 0 ? this.#document.toJS() : undefined;
    } catch {
      // Too many aliases, or nested too deeply; the library's message quotes the text.
      throw invalid(`kubeconfig ${path}: the YAML cannot be read`);
    }
    const [error] = this.#document.errors;
    if (error === undefined) return;
    const { line } = this.#lines.linePos(error.pos[0]);
    throw invalid(`kubeconfig ${path}, line ${line}: the YAML is not valid (${error.code})`);
  }

  /** Nothing but blanks and comments. */
  get isEmpty(): boolean {
    return this.#root === null;
  }

  /** The value at a place, parsed. @throws AgentError KUBECONFIG_INVALID that names line and key */
  read<T>(schema: v.GenericSchema<unknown, T>, at: KeyPath): T {
    const result = v.safeParse(schema, at.reduce<unknown>(member, this.#root), {
      abortEarly: true,
    });
    if (result.success) return result.output;
    const [issue] = result.issues;
    const place = [...at, ...(issue.path ?? []).map((item) => item.key as string | number)];
    const found = issue.input === null ? 'null' : typeof issue.input;
    throw this.failure('KUBECONFIG_INVALID', place, {
      message:
        issue.input === undefined
          ? 'is missing'
          : `must be ${issue.expected ?? 'valid'}, found ${found}`,
    });
  }

  /** An error about the key at a place: `kubeconfig FILE, line 12: users[0].user.token MESSAGE`. */
  failure(
    code: ErrorCode,
    at: KeyPath,
    details: { readonly message: string; readonly remedy?: string; readonly cause?: unknown },
  ): AgentError {
    return new AgentError(
      code,
      `kubeconfig ${this.path}, line ${this.#lineOf(at)}: ${formatPath(at)} ${details.message}`,
      {
        remedy: details.remedy ?? `Correct the key in ${this.path}`,
        ...(details.cause !== undefined && { cause: details.cause }),
      },
    );
  }

  /** The line of the innermost part of the path that exists. */
  #lineOf(at: KeyPath): number {
    for (let depth = at.length; depth > 0; depth -= 1) {
      const node = this.#document.getIn(at.slice(0, depth), true);
      if (isNode(node) && node.range) return this.#lines.linePos(node.range[0]).line;
    }
    return 1;
  }
}

function member(value: unknown, key: string | number): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string | number, unknown>)[key]
    : undefined;
}

function formatPath(at: KeyPath): string {
  if (at.length === 0) return 'the document';
  return at
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .replace(/^\./, '');
}

function invalid(message: string): AgentError {
  return new AgentError('KUBECONFIG_INVALID', message, {
    remedy: 'Correct the file or put the one your cluster issued in its place',
  });
}
