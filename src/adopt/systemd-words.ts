/** A variable of a service's environment, with the place of its last assignment. */
export interface Variable {
  readonly value: string;
  readonly file: string;
  readonly line: number;
  readonly plainFile: boolean;
}

const token =
  /\\(?<escape>x[0-9a-fA-F]{2}|[0-7]{3}|[^])|"(?<double>(?:\\[^]|[^"\\])*)"|'(?<single>(?:\\[^]|[^'\\])*)'|(?<space>\s+)|(?<plain>[^\s"'\\]+)|(?<stray>[^][^]*)/g;

/** What could be split; `faulty` is what systemd stops at. */
export interface SplitWords {
  readonly words: readonly string[];
  readonly faulty: boolean;
}

/**
 * Splits a line of a unit as systemd does (extract_first_word with EXTRACT_UNQUOTE and
 * EXTRACT_CUNESCAPE): quotes may begin and end within a word, and the escapes of C hold
 * inside and outside of them. A quote without an end is a fault; a backslash before
 * anything else is one in Environment=, and stays in ExecStart=.
 */
export function splitLine(text: string, setting: 'ExecStart' | 'Environment'): SplitWords {
  const other = setting === 'ExecStart' ? (whole: string) => whole : (): undefined => undefined;
  return split(text, {
    unescape: (escaped) => cEscapes(escaped, other),
    stray: (rest) => (rest.startsWith('\\') ? other(rest) : undefined),
  });
}

/** Splits the value of a variable: a backslash protects one character, and a quote without an end reaches to the end. */
export function splitValue(text: string): readonly string[] {
  const stray = (rest: string): string => withoutBackslashes(rest.slice(1));
  return split(text, { unescape: withoutBackslashes, stray }).words;
}

function withoutBackslashes(text: string): string {
  return text.replace(/\\([^]?)/g, '$1');
}

interface Dialect {
  /** Undefined for a fault. */
  readonly unescape: (text: string) => string | undefined;
  /** A rest that begins with a quote, or the backslash at the very end. */
  readonly stray: (rest: string) => string | undefined;
}

function split(text: string, dialect: Dialect): SplitWords {
  const words: string[] = [];
  let word: string | undefined;
  for (const { groups = {} } of text.matchAll(token)) {
    if (groups['space'] !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const part = partOf(groups, dialect);
    if (part === undefined) return { words, faulty: true };
    word = (word ?? '') + part;
  }
  return { words: word === undefined ? words : [...words, word], faulty: false };
}

function partOf(
  { escape, double, single, plain, stray }: Readonly<Record<string, string | undefined>>,
  dialect: Dialect,
): string | undefined {
  if (plain !== undefined) return plain;
  if (stray !== undefined) return dialect.stray(stray);
  return dialect.unescape(double ?? single ?? `\\${escape ?? ''}`);
}

const letters: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  s: ' ',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

function cEscapes(text: string, other: (escape: string) => string | undefined): string | undefined {
  let fault = false;
  const unescaped = text.replace(
    /\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|([^]))/g,
    (whole, ...[hex, octal, letter]: (string | undefined)[]) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      const known = letters[letter ?? ''] ?? other(whole);
      fault ||= known === undefined;
      return known ?? '';
    },
  );
  return fault ? undefined : unescaped;
}

/** A word after the variables were put in; `variable` where the whole word came out of one. */
export interface ExpandedWord {
  readonly text: string;
  readonly variable?: { readonly name: string; readonly word: number };
}

/**
 * Puts variables into one word of ExecStart= (systemd.service(5), "Command lines"): `$NAME`
 * alone becomes as many words as its value has, none if it is unset; `${NAME}` is put in
 * wherever it stands; `$$` is a dollar.
 */
export function expandWord(
  word: string,
  valueOf: (name: string) => string | undefined,
): ExpandedWord[] {
  // Whatever follows is the name, and no variable has one like `A.b`.
  const alone = /^\$(?![{$])(?<name>[^]*)$/.exec(word)?.groups?.['name'];
  if (alone !== undefined) {
    return splitValue(valueOf(alone) ?? '').map((text, index) => ({
      text,
      variable: { name: alone, word: index },
    }));
  }
  const text = word.replace(/\$\$|\$\{([A-Za-z_]\w*)\}/g, (whole, name?: string) =>
    whole === '$$' ? '$' : (valueOf(name ?? '') ?? ''),
  );
  return [{ text }];
}
