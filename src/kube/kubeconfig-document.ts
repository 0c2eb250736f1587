import * as v from 'valibot';
import type { Document } from 'yaml';
import { LineCounter, isNode, parseDocument } from 'yaml';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';

/** A place in the document, such as `['users', 0, 'user', 'token']`. */
export type KeyPath = readonly (string | number)[];

/**
 * The YAML of a kubeconfig with the line of each key. Its errors never quote a value or
 * the text, because either may be a token or a key.
 */
export class KubeconfigDocument {
  readonly path: string;
  /** Returns the path at which to open a file that the kubeconfig names: in a disk image, that path is below the folder of the image. */
  readonly locate: (path: string) => Promise<string>;
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #root: unknown;

  /** @throws AgentError KUBECONFIG_INVALID */
  constructor(path: string, text: string, locate = async (file: string) => file) {
    this.path = path;
    this.locate = locate;
    this.#lines = new LineCounter();
    try {
      this.#document = parseDocument(text, {
        lineCounter: this.#lines,
        prettyErrors: false,
        logLevel: 'error',
      });
      this.#root = this.#document.errors.length === 0 ? this.#document.toJS() : undefined;
    } catch {
      // The YAML has too many aliases or levels. The error omits the message of the library, which quotes the text.
      throw invalid(`kubeconfig ${path}: the YAML has too many aliases or levels`);
    }
    const [error] = this.#document.errors;
    if (error === undefined) return;
    const { line } = this.#lines.linePos(error.pos[0]);
    throw invalid(`kubeconfig ${path}, line ${line}: invalid YAML (${error.code})`);
  }

  /** True for a document that contains only blank lines and comments. */
  get isEmpty(): boolean {
    return this.#root === null;
  }

  /** The parsed value at a place. @throws AgentError KUBECONFIG_INVALID that names line and key */
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

  /** The first key of an entry that is not in `known` and has a value; an empty value counts as absent. */
  otherKey(at: KeyPath, known: ReadonlySet<string>): string | undefined {
    const entry = this.read(v.record(v.string(), v.unknown()), at);
    return Object.keys(entry).find((key) => !known.has(key) && (entry[key] ?? '') !== '');
  }

  /**
   * Rejects an entry with an unknown key, which nodecertd would otherwise ignore.
   * @throws AgentError KUBECONFIG_UNSUPPORTED
   */
  refuseOtherKeys(at: KeyPath, known: ReadonlySet<string>): void {
    const key = this.otherKey(at, known);
    if (key === undefined) return;
    const name = withoutSecrets(key, 80);
    throw this.failure('KUBECONFIG_UNSUPPORTED', [...at, name], {
      message: 'is a key that nodecertd does not know',
      remedy: `Correct or remove the key ${name} in ${this.path}`,
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

  /** The line of the place, or of the innermost part of its path that exists. */
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
    remedy: 'Correct the file, or replace it with the kubeconfig that your cluster issued',
  });
}
