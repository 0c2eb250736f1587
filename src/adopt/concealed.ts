import { isPair, isScalar, parseDocument, visit } from 'yaml';
import { veiled } from '../core/printable.ts';

/** Keys whose values are secrets, or so long that nobody reads them. */
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
  // Of an exec plug-in's environment.
  'value',
  'staticPodURLHeader',
]);

/**
 * A YAML text fit to be shown: with `<… bytes, not shown>` in the place of keys, tokens
 * and certificates. Undefined when it cannot be parsed, and so may be anything.
 */
export function concealedYaml(text: string): string | undefined {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
  if (document.errors.length > 0) return undefined;
  const secrets: Secret[] = [];
  visit(document, {
    Scalar: (place, node, path) => {
      const [start, end] = node.range ?? [0, 0];
      const key = path.map(secretKey).find((found) => found !== undefined);
      if (place === 'key' || end === start || key === undefined) return;
      secrets.push({ start, end, size: sizeOf(key, String(node.value)) });
    },
  });
  const shown = secrets.reduceRight((shown, { start, end, size }) => {
    // A block of text ends with the line break that the next key needs.
    const last = /\s*$/.exec(shown.slice(start, end))?.[0] ?? '';
    return `${shown.slice(0, start)}<${size} bytes, not shown>${last}${shown.slice(end)}`;
  }, text);
  return concealedText(shown);
}

interface Secret {
  readonly start: number;
  readonly end: number;
  readonly size: number;
}

function secretKey(node: unknown): string | undefined {
  const key = isPair(node) && isScalar(node.key) ? String(node.key.value) : '';
  return secretKeys.has(key) ? key : undefined;
}

/** Of data in base64 that of what is encoded. */
function sizeOf(key: string, value: string): number {
  return Buffer.byteLength(value, key.endsWith('-data') ? 'base64' : 'utf8');
}

/** Keys, paths as people name them, and names such as KUBELET_EXTRA_ARGS: long, and no secret. */
const harmless =
  /(^[ -]*[A-Za-z]+(?=:)|(?<![A-Za-z0-9+/])\/{0,2}(?:\/[a-z0-9._@-]+){2,}(?![A-Za-z0-9+/=._@-])|\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b)/m;

/** `[a-z0-9]{6}.[a-z0-9]{16}`, which looks like a word. */
const bootstrapToken = /\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g;

/** Base64 for URLs, as in JSON web tokens: capitals, small letters and digits between dashes. */
const urlSafe = /(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{24,}/;

function withoutRuns(text: string): string {
  return text.replace(/[\w+/=-]{16,}/g, (run) =>
    run.includes('-') && urlSafe.test(run) ? '…' : veiled(run),
  );
}

/** Any other text, line by line, without what looks like a secret or moves the cursor. */
export function concealedText(text: string): string {
  return text
    .replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, '')
    .replace(bootstrapToken, '…')
    .split(harmless)
    .map((part, index) => (index % 2 === 1 ? part : withoutRuns(part)))
    .join('');
}
