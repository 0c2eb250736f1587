/**
 * The few requests of man(7) that the manual pages use. Text from elsewhere never
 * becomes a request: a line that begins with a dot or an apostrophe is prefixed.
 */

/** Running text: hyphens may break a line, quotes may be drawn as such. */
export function prose(text: string): string {
  return guarded(text.replaceAll('\\', '\\e'));
}

/** What is typed as it stands: hyphens that can be copied, straight quotes, carets, tildes and grave accents. */
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

/** A paragraph under a term: the term stands out to the left of it. */
export function entry(term: string, text: string): string {
  return `.TP\n${term}\n${text}`;
}

/** Lines that are neither filled nor justified, indented. */
export function example(lines: readonly string[]): string {
  return ['.RS 4', '.EX', ...lines.map(literal), '.EE', '.RE'].join('\n');
}

export function section(heading: string, ...parts: readonly string[]): string {
  return [`.SH ${heading}`, ...parts].join('\n');
}

function guarded(line: string): string {
  return line.replace(/^(?=[.'])/gm, '\\&');
}
