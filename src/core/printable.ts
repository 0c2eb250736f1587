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
 * wrong file, or paste a secret where a name belongs. Redacts long runs of the base64 alphabet,
 * and shorter runs that seem random.
 */
export function withoutSecrets(text: string, longest = 500): string {
  const far = longest + 64;
  // The cut may leave a part of a key that is too short to recognize, so the last run is removed
  // too.
  const start = text.length > far ? text.slice(0, far).replace(/[A-Za-z0-9+/=_]+$/, '…') : text;
  return printable(redact(start), longest);
}

/** Replaces every part of the text that may be a key or a token. */
export function redact(text: string): string {
  return text.replace(/[A-Za-z0-9+/=_]{16,}/g, redactRun);
}

/**
 * About 60% of the characters in random base64 are not lower-case letters; in names, about 20%.
 * Checks every 16 characters of the run, because a key may directly follow a name.
 */
function redactRun(run: string): string {
  const others = Array.from(run, (character) => Number(!/[a-z]/.test(character)));
  const parts = others.slice(15).map((_, at) => others.slice(at, at + 16));
  const random = parts.some((part) => part.reduce((sum, other) => sum + other, 0) >= 5);
  return random || run.length > 40 ? '…' : run;
}
