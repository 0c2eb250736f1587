/**
 * The requests of man(7) that the manual pages use. Text never becomes a request: lines
 * that start with a dot or an apostrophe get a prefix.
 */

/** Running text: lines may break at hyphens, and quotes may become typographic. */
export function prose(text: string): string {
  return guarded(text.replaceAll('\\', '\\e'));
}

/** Text to copy and type: keeps hyphens, straight quotes, carets, tildes, and grave accents. */
export function literal(text: string): string {
  const straight: Readonly<Record<string, string>> = {
    '\\': '\\e',
    '-': '\\-',
    "'": '\\(aq',
    '"': '\\(dq',
    '`': '\\(ga',
    '^': '\\(ha',
    '~': '\\(ti',
  };
  return guarded(text.replace(/[\\\-'"`^~]/g, (character) => straight[character] ?? character));
}

export function bold(text: string): string {
  return `\\fB${literal(text)}\\fR`;
}

export function italic(text: string): string {
  return `\\fI${literal(text)}\\fR`;
}

/** A paragraph with a hanging term. */
export function entry(term: string, text: string): string {
  return `.TP\n${term}\n${text}`;
}

/** Indented lines that are not reflowed. */
export function example(lines: readonly string[]): string {
  return ['.RS 4', '.EX', ...lines.map(literal), '.EE', '.RE'].join('\n');
}

export function section(heading: string, ...parts: readonly string[]): string {
  return [`.SH ${heading}`, ...parts].join('\n');
}

function guarded(line: string): string {
  return line.replace(/^(?=[.'])/gm, '\\&');
}
