import { LineCounter, parseAllDocuments } from 'yaml';
import { AgentError } from '../../core/errors.ts';

export interface YamlDocuments {
  /** The content of the first document; null if it is empty. */
  readonly first: unknown;
  readonly count: number;
}

/**
 * Parses YAML or JSON as Kubernetes does: as YAML 1.1, only the first document, and the last of
 * two equal keys wins (sigs.k8s.io/yaml). The message of an error follows the path in a sentence,
 * and never quotes the text, which may contain a secret.
 * @throws AgentError CONFIG_INVALID
 */
export function parseDocuments(text: string): YamlDocuments {
  const lineCounter = new LineCounter();
  let error: { readonly code: string; readonly pos: readonly [number, number] } | undefined;
  try {
    const documents = parseAllDocuments(text, {
      version: '1.1',
      uniqueKeys: false,
      lineCounter,
      prettyErrors: false,
      logLevel: 'error',
    });
    const [document] = documents;
    if (document === undefined) return { first: null, count: 0 };
    [error] = document.errors;
    if (error === undefined) return { first: document.toJS(), count: documents.length };
  } catch {
    // The library quotes the text in its message.
    throw new AgentError('CONFIG_INVALID', 'has too many YAML aliases or levels');
  }
  const { line } = lineCounter.linePos(error.pos[0]);
  throw new AgentError('CONFIG_INVALID', `is not valid YAML: line ${line} (${error.code})`);
}
