/**
 * What others wrote (a server, a file), fit for one line of a log or a terminal: no
 * control characters, no direction marks, and no more than anyone reads.
 */
export function printable(text: string, longest = 500): string {
  // Cut first: what is a megabyte long need not be looked through.
  const line = text
    .slice(0, longest + 1)
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .trim();
  return text.length > longest ? `${line.slice(0, longest)}…` : line;
}

/**
 * As printable(), for text that may be a key or token: a person may name the wrong
 * file, or paste a secret where a name belongs. Long runs of the base64 alphabet are
 * left out, shorter ones when no word looks like that.
 */
export function withoutSecrets(text: string, longest = 500): string {
  const far = longest + 64;
  // What is cut in two here may be the end of a key, and too short to tell.
  const start = text.length > far ? text.slice(0, far).replace(/[A-Za-z0-9+/=_]+$/, '…') : text;
  return printable(veiled(start), longest);
}

/** The text without what may be a key or token, and otherwise as it is. */
export function veiled(text: string): string {
  return text.replace(/[A-Za-z0-9+/=_]{16,}/g, veil);
}

/**
 * Of random base64, three in five are no small letters; of names as people make them,
 * one in five. Looked for in any part of the run: a key may be glued to a name.
 */
function veil(run: string): string {
  const others = Array.from(run, (character) => Number(!/[a-z]/.test(character)));
  const parts = others.slice(15).map((_, at) => others.slice(at, at + 16));
  const random = parts.some((part) => part.reduce((sum, other) => sum + other, 0) >= 5);
  return random || run.length > 40 ? '…' : run;
}
