import { access } from 'node:fs/promises';
import { basename } from 'node:path';
import { printable } from '../core/printable.ts';
import { showUnit } from '../sys/systemctl.ts';
import { Tree } from '../sys/tree.ts';

/** The service that starts the kubelet, as systemd has loaded it. */
export interface KubeletService {
  readonly unit: string;
  /** The files in which its command line is written: unit, drop-ins, environment files. */
  readonly files: readonly string[];
  /** Its command line without the program; absent if the command line is uncertain. */
  readonly words?: readonly string[];
  /** The reason why the command line is uncertain. */
  readonly unclear?: string;
  /** Relative paths on the command line start here. */
  readonly workingDirectory: string;
  /** Names of the variables in its environment. */
  readonly variables: readonly string[];
}

const properties = [
  'LoadState',
  'FragmentPath',
  'DropInPaths',
  'WorkingDirectory',
  'Environment',
  'EnvironmentFiles',
  'ExecStart',
];

/**
 * Reads the command line of the kubelet from systemd. Undefined if systemd is not running, or
 * has no such service.
 */
export async function readKubeletService(
  unit: string,
  systemctl?: string,
): Promise<KubeletService | undefined> {
  if (systemctl === undefined && !(await isSystemdRunning())) return undefined;
  const result = await showUnit(unit, properties, { systemctl });
  const { properties: shown } = result;
  const value = (name: string): string => shown.get(name)?.join(' ') ?? '';
  const state = value('LoadState');
  if (state === 'not-found' || state === 'masked') return undefined;
  if (result.kind === 'failed' || state !== 'loaded') {
    const unclear =
      result.kind === 'failed' ? `systemctl failed: ${result.reason}` : `it is ${state}`;
    return { unit, files: [], unclear, workingDirectory: '/', variables: [] };
  }
  const environmentFiles = (shown.get('EnvironmentFiles') ?? []).map((line) =>
    line.replace(/ \(ignore_errors=\w+\)$/, ''),
  );
  const unitFiles = [value('FragmentPath'), ...value('DropInPaths').split(' ')].filter(Boolean);
  const variables = await environmentOf(value('Environment'), environmentFiles);
  const workingDirectory = value('WorkingDirectory').replace(/^[-!]+/, '');
  return {
    unit,
    files: [...unitFiles, ...environmentFiles],
    workingDirectory: workingDirectory.startsWith('/') ? workingDirectory : '/',
    variables: variables instanceof Map ? [...variables.keys()] : [],
    ...commandLine(shown.get('ExecStart') ?? [], variables),
  };
}

/** sd_booted(3) */
async function isSystemdRunning(): Promise<boolean> {
  return access('/run/systemd/system').then(
    () => true,
    () => false,
  );
}

type Variables = ReadonlyMap<string, string>;

/**
 * The environment of the service, in which files override `Environment=`. Reads only plain
 * assignments, because systemd's other quoting is rare and easy to misread. Returns a reason if
 * an assignment is not plain.
 */
async function environmentOf(
  shown: string,
  files: readonly string[],
): Promise<Variables | { readonly unclear: string }> {
  const variables = new Map<string, string>();
  const words = shown.match(/"[^"]*"|\S+/g) ?? [];
  for (const word of words) {
    const assignment = assignmentIn(word.replace(/^"(.*)"$/, '$1'));
    if (assignment === undefined) return { unclear: 'its Environment= has quotes or escapes' };
    variables.set(...assignment);
  }
  for (const file of files) {
    if (/[*?[]/.test(file)) return { unclear: `its EnvironmentFile=${file} is a pattern` };
    const lines = ((await new Tree('/').readText(file)) ?? '').split(/\r?\n/);
    for (const [index, line] of lines.entries()) {
      if (/^\s*(?:[#;].*)?$/.test(line) && !line.endsWith('\\')) continue;
      const assignment = assignmentIn(line.replace(/^(\s*\w+=\s*)(["'])(.*)\2\s*$/, '$1$3'));
      if (assignment === undefined) {
        return { unclear: `line ${index + 1} of ${file} is not a plain NAME="value"` };
      }
      variables.set(...assignment);
    }
  }
  return variables;
}

function assignmentIn(text: string): [name: string, value: string] | undefined {
  const { name, value } = /^\s*(?<name>[A-Za-z_]\w*)=(?<value>[^"'\\]*)$/.exec(text)?.groups ?? {};
  return name === undefined || value === undefined ? undefined : [name, value.trim()];
}

function commandLine(
  commands: readonly string[],
  variables: Variables | { readonly unclear: string },
): Pick<KubeletService, 'words' | 'unclear'> {
  const { path = '', line = '' } =
    /^\{ path=(?<path>.*?) ; argv\[\]=(?<line>.*?) ; ignore_errors=/.exec(commands.at(-1) ?? '')
      ?.groups ?? {};
  if (basename(path) !== 'kubelet') {
    return { unclear: `it starts ${printable(path, 80) || 'nothing'} instead of the kubelet` };
  }
  if (!(variables instanceof Map)) return variables as { readonly unclear: string };
  const words = line.split(/\s+/).slice(1);
  const expanded = words.flatMap((word) => expand(word, variables) ?? [undefined]);
  const known = expanded.filter((word) => word !== undefined);
  const stray = known.find((word, at) => isStray(word, known[at - 1]));
  if (known.length < expanded.length || stray !== undefined) {
    return { unclear: 'its ExecStart= has quotes, escapes or blanks within a word' };
  }
  return { words: known };
}

/**
 * `$NAME` expands to the words of its value, and `${NAME}` to a part of one word
 * (systemd.service(5)).
 */
function expand(word: string, variables: Variables): string[] | undefined {
  const alone = /^\$([A-Za-z_]\w*)$/.exec(word)?.[1];
  if (alone !== undefined) return (variables.get(alone) ?? '').split(/\s+/).filter(Boolean);
  const text = word.replace(
    /\$\{([A-Za-z_]\w*)\}/g,
    (_, name: string) => variables.get(name) ?? '',
  );
  return /["'\\$]/.test(text) ? undefined : [text];
}

/**
 * The kubelet takes no arguments, so such a word is part of a quoted word, which systemctl shows
 * without quotes.
 */
function isStray(word: string, previous = '--name=value'): boolean {
  return !word.startsWith('-') && (!previous.startsWith('-') || previous.includes('='));
}
