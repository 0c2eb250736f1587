/**
 * The commands of `ExecStart=` in the files of a unit, as written: with specifiers, variables and
 * quotes. `systemctl show` prints them without quotes.
 * @param texts the unit and its drop-ins, in the order in which systemd reads them
 */
export function execStartCommands(texts: readonly string[]): string[] {
  let commands: string[] = [];
  for (const line of texts.flatMap(serviceLines)) {
    const command = /^ExecStart\s*=(.*)$/.exec(line)?.[1]?.trim();
    if (command === undefined) continue;
    // An empty assignment removes the previous ones (systemd.service(5)).
    commands = command === '' ? [] : [...commands, command];
  }
  return commands;
}

/** The lines of the section Service. A continued line is one line (systemd.syntax(7)). */
function serviceLines(text: string): string[] {
  let section = '';
  let begun = '';
  const lines: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (/^[#;]/.test(trimmed)) continue;
    if (line.endsWith('\\')) {
      begun += `${line.slice(0, -1)} `;
      continue;
    }
    const complete = (begun + line).trim();
    begun = '';
    section = /^\[(.*)\]$/.exec(complete)?.[1] ?? section;
    if (section === 'Service') lines.push(complete);
  }
  return lines;
}

/** A word of a command line, in quotes, without expansion of specifiers and variables. */
export function quotedWord(text: string): string {
  const escaped = text.replace(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$');
  return `"${escaped}"`;
}
