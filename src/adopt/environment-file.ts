/** One assignment of an environment file. */
export interface Assignment {
  readonly name: string;
  readonly value: string;
  /** Of its first line, counted from 1. */
  readonly line: number;
  /** One line, its value in one kind of quotes or none, without escapes: what can be edited. */
  readonly plain: boolean;
}

/**
 * The assignments of a file that EnvironmentFile= names, as systemd reads it
 * (parse_env_file_internal): `NAME=value` a line, `#` and `;` begin a comment at its start.
 * A value that begins with a quote reaches to the other one, over several lines too; in
 * any other quotes are characters like any. What is no assignment is passed over.
 */
export function parseEnvironmentFile(text: string): Assignment[] {
  const found: Assignment[] = [];
  const begin = /(?:[#;].*|(?<name>[^=\r\n]*)=|[^=\r\n]*$|[^=\r\n]*)/my;
  for (let at = 0; at < text.length;) {
    at = skip(text, at, /[ \t\r\n]*/y);
    begin.lastIndex = at;
    const match = begin.exec(text);
    const name = match?.groups?.['name']?.replace(/^[ \t]+|[ \t]+$/g, '');
    const start = begin.lastIndex;
    if (name === undefined) {
      at = Math.max(start, at + 1);
      continue;
    }
    const { value, end } = readValue(text, start);
    if (/^[A-Za-z_]\w*$/.test(name)) {
      const line = text.slice(0, at).split('\n').length;
      found.push({ name, value, line, plain: isPlain(text.slice(start, end)) });
    }
    at = end;
  }
  return found;
}

function skip(text: string, at: number, what: RegExp): number {
  what.lastIndex = at;
  what.exec(text);
  return what.lastIndex;
}

const part =
  /[ \t]*(?:"(?<double>(?:\\[^]|[^"\\])*)"?|'(?<single>[^']*)'?|(?<bare>(?:\\[^]|[^\\\r\n])+))/y;

/** Quoted parts one behind the other, and at last perhaps one that is bare. */
function readValue(text: string, start: number): { readonly value: string; readonly end: number } {
  let value = '';
  for (let at = start; ;) {
    part.lastIndex = at;
    const { double, single, bare } = part.exec(text)?.groups ?? {};
    const found = double?.replace(/\\(?:\n|(["\\$`]))/g, '$1') ?? single;
    if (found === undefined) {
      const end = bare === undefined ? at : part.lastIndex;
      return { value: value + unescaped(bare ?? ''), end };
    }
    value += found;
    at = part.lastIndex;
  }
}

/** Blanks at the end are none of it, unless a backslash protects them; a protected line break is none at all. */
function unescaped(bare: string): string {
  const trimmed = /^(?:\\[^]|[^\\])*?(?=[ \t]*$)/.exec(bare)?.[0] ?? bare;
  return trimmed.replace(/\\(?:\n|([^]))/g, '$1');
}

/** Its words can be counted as they stand. */
function isPlain(raw: string): boolean {
  return /^[ \t]*(?:"[^"'\\\n]*"|'[^"'\\\n]*'|[^"'\\\n]*)[ \t]*$/.test(raw);
}

/**
 * The text without some words of one plain assignment; everything else stays as it is,
 * byte for byte. Undefined when that assignment cannot be edited.
 */
export function withoutWords(
  text: string,
  { line, words }: { readonly line: number; readonly words: ReadonlySet<number> },
): string | undefined {
  const assignment = parseEnvironmentFile(text).find((candidate) => candidate.line === line);
  if (assignment?.plain !== true) return undefined;
  const lines = text.split('\n');
  const whole = lines[line - 1] ?? '';
  const at = whole.indexOf('=') + 1;
  // The last one of a line is the carriage return of a file from elsewhere.
  const { open, body, close } =
    /^(?<open>["']?)(?<body>[^"']*?)(?<close>["']?\s*)$/.exec(whole.slice(at))?.groups ?? {};
  if (open === undefined || body === undefined || close === undefined) return undefined;
  const kept = (body.match(/\s*\S+/g) ?? []).filter((_, index) => !words.has(index)).join('');
  lines[line - 1] = `${whole.slice(0, at)}${open}${words.has(0) ? kept.trimStart() : kept}${close}`;
  return lines.join('\n');
}
