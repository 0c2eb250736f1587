/**
 * Text from a server or a file, made safe for one line of a log or a terminal: no control
 * characters, no direction marks, limited length.
 */
export function printable(text: string, longest = 500): string {
  // Cut first, because the text may be a megabyte long.
  const line = text
    .slice(0, longest + 1)
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .trim();
  return text.length > longest ? `${line.slice(0, longest)}…` : line;
}

/**
 * Like printable(), for text that may contain a key or a token: an administrator may name the
 * wrong file, or paste a secret where a name belongs. Redacts long runs of the base64
 * alphabet, and shorter ones that do not look like a name.
 */
export function withoutSecrets(text: string, longest = 500): string {
  const far = longest + 64;
  // A run that the cut splits may be part of a key, and too short to recognize.
  const start = text.length > far ? text.slice(0, far).replace(/[A-Za-z0-9+/=_]+$/, '…') : text;
  return printable(redact(start), longest);
}

/** Replaces every part of the text that may be a key or a token. */
export function redact(text: string): string {
  return text.replace(/[A-Za-z0-9+/=_]{16,}/g, redactRun);
}

/**
 * In random base64, three of five characters are not lower-case letters; in names that people
 * choose, one of five. Checks each part of the run, because a key may directly follow a name.
 */
function redactRun(run: string): string {
  const others = Array.from(run, (character) => Number(!/[a-z]/.test(character)));
  const parts = others.slice(15).map((_, at) => others.slice(at, at + 16));
  const random = parts.some((part) => part.reduce((sum, other) => sum + other, 0) >= 5);
  return random || run.length > 40 ? '…' : run;
}
