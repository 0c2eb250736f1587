import type { CommandWord } from '../kubelet/command-word.ts';
import { parseEnvironmentFile } from './environment-file.ts';
import type { ExpandedWord, Variable } from './systemd-words.ts';
import { expandWord, splitLine } from './systemd-words.ts';

/** A line `key=value` of the section [Service]. */
export interface UnitSetting {
  readonly key: string;
  readonly value: string;
  readonly file: string;
  /** Of its first line, counted from 1. */
  readonly line: number;
}

/**
 * The settings of [Service] in one unit file or drop-in (systemd.syntax(7)): a backslash
 * at the end joins the next line with a space, comments in between are passed over.
 */
export function parseUnit(text: string, file: string): UnitSetting[] {
  const settings: UnitSetting[] = [];
  let section = '';
  let pending: { text: string; readonly line: number } | undefined;
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    if (/^\s*[#;]/.test(raw)) continue;
    const joined: { text: string; readonly line: number } = {
      text: (pending?.text ?? '') + raw,
      line: pending?.line ?? index + 1,
    };
    pending = /(?:^|[^\\])(?:\\\\)*\\$/.test(raw)
      ? { ...joined, text: `${joined.text.slice(0, -1)} ` }
      : undefined;
    if (pending !== undefined) continue;
    section = /^\s*\[(.+)\]\s*$/.exec(joined.text)?.[1] ?? section;
    const { key, value } = /^\s*(?<key>[A-Za-z]+)\s*=(?<value>.*)$/.exec(joined.text)?.groups ?? {};
    if (section !== 'Service' || key === undefined || value === undefined) continue;
    settings.push({ key, value: value.trim(), file, line: joined.line });
  }
  return settings;
}

/** What a service is started with, as its unit and drop-ins say. */
export interface ServiceStart {
  /** The last ExecStart=; absent when there is none. */
  readonly exec?: UnitSetting;
  readonly assignments: readonly UnitSetting[];
  readonly environmentFiles: readonly string[];
  /** What relative paths of its command line start from. */
  readonly workingDirectory: string;
}

/** Unit and drop-ins in the order in which they are read; an empty value begins a list anew. */
export function serviceStart(settings: readonly UnitSetting[]): ServiceStart {
  const last = (key: string): UnitSetting | undefined => listOf(settings, key).at(-1);
  const exec = last('ExecStart');
  const directory = last('WorkingDirectory')?.value.replace(/^-/, '') ?? '/';
  return {
    ...(exec !== undefined && { exec }),
    assignments: listOf(settings, 'Environment'),
    environmentFiles: listOf(settings, 'EnvironmentFile').map(({ value }) =>
      value.replace(/^-/, ''),
    ),
    workingDirectory: directory.startsWith('/') ? directory : '/',
  };
}

function listOf(settings: readonly UnitSetting[], key: string): UnitSetting[] {
  const all = settings.filter((setting) => setting.key === key);
  return all.slice(all.findLastIndex(({ value }) => value === '') + 1);
}

export interface EnvironmentText {
  readonly file: string;
  readonly text: string;
}

/** Files come after Environment=, whatever their order in the unit, and the last assignment counts. */
export function environmentOf(
  { assignments }: ServiceStart,
  files: readonly EnvironmentText[],
): ReadonlyMap<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const { value: words, file, line } of assignments) {
    // What comes before a fault counts.
    for (const word of splitLine(words, 'Environment').words) {
      const { name, value } = /^(?<name>[A-Za-z_]\w*)=(?<value>[^]*)$/.exec(word)?.groups ?? {};
      if (name === undefined || value === undefined) continue;
      variables.set(name, { value: withoutPercent(value), file, line, plainFile: false });
    }
  }
  for (const { file, text } of files) {
    for (const { name, value, line, plain } of parseEnvironmentFile(text)) {
      variables.set(name, { value, file, line, plainFile: plain });
    }
  }
  return variables;
}

/**
 * The words of an ExecStart= with the variables put in; undefined where a quote has no end.
 * The prefixes (systemd.service(5)): `@` makes the second word the name of the program, `:`
 * leaves the variables alone, the others do not touch the command line.
 */
export function commandWords(
  exec: UnitSetting,
  environment: ReadonlyMap<string, Variable>,
): CommandWord[] | undefined {
  const { prefix = '', line = '' } =
    /^(?<prefix>[-@:+!|]*)(?<line>.*)$/.exec(exec.value)?.groups ?? {};
  const { words: split, faulty } = splitLine(line, 'ExecStart');
  if (faulty) return undefined;
  const words = split.flatMap((word) => {
    // A semicolon alone would begin another command.
    const text = withoutPercent(word === '\\;' ? ';' : word);
    const expanded = prefix.includes(':')
      ? [{ text }]
      : expandWord(text, (name) => environment.get(name)?.value);
    return expanded.map((each) => commandWord(each, exec, environment));
  });
  return prefix.includes('@') ? words.toSpliced(1, 1) : words;
}

/** Of the specifiers of systemd.unit(5) the one that means itself; the others are not known here. */
function withoutPercent(text: string): string {
  return text.replaceAll('%%', '%');
}

function commandWord(
  { text, variable }: ExpandedWord,
  exec: UnitSetting,
  environment: ReadonlyMap<string, Variable>,
): CommandWord {
  const found = variable === undefined ? undefined : environment.get(variable.name);
  if (variable === undefined || found === undefined) {
    return { text, origin: { kind: 'unit', file: exec.file, line: exec.line } };
  }
  const { file, line, plainFile } = found;
  const { name, word } = variable;
  return { text, origin: { kind: 'variable', file, line, variable: name, word, plainFile } };
}
