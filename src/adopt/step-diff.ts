import { FILE_HEADERS_ONLY, createTwoFilesPatch } from 'diff';
import { isPair, isScalar, parseDocument, visit } from 'yaml';
import { redact } from '../core/printable.ts';
import type { Step } from './plan.ts';

/** A difference of more lines is not readable, and takes seconds to compute. */
const maxLines = 2_000;

/** The change of a file in the format of `diff -u`, with secrets redacted. */
export function stepDiff({ file, form, before, after }: Step): string {
  const redact = form === 'yaml' ? redactYaml : redactText;
  const [left, right] = [before ?? '', after ?? ''].map(redact);
  if (left === undefined || right === undefined) {
    return `${file} is not shown: it cannot be parsed, so its secrets cannot be redacted\n`;
  }
  if (left === right) return before === after ? '' : `${file} differs in redacted parts only\n`;
  const [from, to] = [before, after].map((text) => (text === undefined ? '/dev/null' : file));
  const diff = createTwoFilesPatch(from ?? '', to ?? '', left, right, undefined, undefined, {
    context: 3,
    headerOptions: FILE_HEADERS_ONLY,
    maxEditLength: maxLines,
  });
  return diff ?? `${file} is not shown: it differs in more than ${maxLines} lines\n`;
}

/** Keys whose values are secrets, or too long to read. */
const secretKeys = new Set([
  'client-key-data',
  'client-certificate-data',
  'certificate-authority-data',
  'token',
  'password',
  'id-token',
  'refresh-token',
  'access-token',
  'client-secret',
  // The environment of an exec plugin.
  'value',
  'staticPodURLHeader',
]);

/**
 * The YAML text with `<… bytes, not shown>` in place of keys, tokens and certificates.
 * Undefined when it cannot be parsed.
 */
export function redactYaml(text: string): string | undefined {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
  if (document.errors.length > 0) return undefined;
  let shown = text;
  const secrets: (readonly [start: number, end: number, size: number])[] = [];
  visit(document, {
    Scalar: (place, node, path) => {
      const [start, end] = node.range ?? [0, 0];
      const key = path.map(secretKey).find((found) => found !== undefined);
      if (place === 'key' || end === start || key === undefined) return;
      // Counts the decoded bytes of base64 data.
      const encoding = key.endsWith('-data') ? 'base64' : 'utf8';
      secrets.push([start, end, Buffer.byteLength(String(node.value), encoding)]);
    },
  });
  for (const [start, end, size] of secrets.toReversed()) {
    // A block of text includes the line break that the next key needs.
    const last = /\s*$/.exec(shown.slice(start, end))?.[0] ?? '';
    shown = `${shown.slice(0, start)}<${size} bytes, not shown>${last}${shown.slice(end)}`;
  }
  return redactText(shown);
}

function secretKey(node: unknown): string | undefined {
  const key = isPair(node) && isScalar(node.key) ? String(node.key.value) : '';
  return secretKeys.has(key) ? key : undefined;
}

/** Keys, paths and names such as KUBELET_EXTRA_ARGS are long, but not secret. */
const harmless =
  /(^[ -]*[A-Za-z]+(?=:)|(?<![A-Za-z0-9+/])\/{0,2}(?:\/[a-z0-9._@-]+){2,}(?![A-Za-z0-9+/=._@-])|\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b)/m;

/** A bootstrap token looks like a word. */
const bootstrapToken = /\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g;

/**
 * The base64 of JSON web tokens mixes dashes with uppercase letters, lowercase letters and
 * digits.
 */
const urlSafe = /(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{24,}/;

/** Redacts probable secrets in any text, and removes control characters. */
export function redactText(text: string): string {
  return text
    .replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, '')
    .replace(bootstrapToken, '…')
    .split(harmless)
    .map((part, index) => (index % 2 === 1 ? part : redactLongWords(part)))
    .join('');
}

function redactLongWords(text: string): string {
  return text.replace(/[\w+/=-]{16,}/g, (word) =>
    word.includes('-') && urlSafe.test(word) ? '…' : redact(word),
  );
}
