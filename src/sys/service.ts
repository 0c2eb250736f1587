import { access } from 'node:fs/promises';
import { basename } from 'node:path';
import { printable } from '../core/printable.ts';
import type { UnitResult } from './systemctl.ts';
import { showUnits } from './systemctl.ts';
import { Tree } from './tree.ts';

/** A service that starts one program, as systemd has loaded it. */
export interface Service {
  readonly unit: string;
  /** The files in which its command line is written: unit, drop-ins, environment files. */
  readonly files: readonly string[];
  /** The command line without the program; absent if the command line is uncertain. */
  readonly words?: readonly string[];
  /** The reason why the command line is uncertain. */
  readonly unclear?: string;
  /** Relative paths on the command line start here. */
  readonly workingDirectory: string;
  /** Empty if the environment is uncertain. A value may be a secret. */
  readonly environment: Environment;
}

export type Environment = ReadonlyMap<string, string>;

export interface ServiceQuery {
  readonly unit: string;
  /** The name of the program that the service starts. */
  readonly program: string;
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
 * Reads the command lines of services from systemd, which take flags and no arguments. Leaves
 * out services that do not exist. Empty if systemd is not running.
 */
export async function readServices(
  queries: readonly ServiceQuery[],
  systemctl?: string,
): Promise<Service[]> {
  if (systemctl === undefined && !(await isSystemdRunning())) return [];
  const units = queries.map(({ unit }) => unit);
  const results = await showUnits(units, properties, { systemctl });
  const services = queries.map(async (query, at) => serviceOf(query, results[at]));
  return (await Promise.all(services)).filter((service) => service !== undefined);
}

async function serviceOf(
  { unit, program }: ServiceQuery,
  result: UnitResult | undefined,
): Promise<Service | undefined> {
  const shown = result?.properties ?? new Map<string, readonly string[]>();
  const value = (name: string): string => shown.get(name)?.join(' ') ?? '';
  const state = value('LoadState');
  if (state === 'not-found' || state === 'masked') return undefined;
  if (result?.kind === 'failed' || state !== 'loaded') {
    const unclear =
      result?.kind === 'failed' ? `systemctl failed: ${result.reason}` : `it is ${state}`;
    return { unit, files: [], unclear, workingDirectory: '/', environment: new Map() };
  }
  const environmentFiles = (shown.get('EnvironmentFiles') ?? []).map((line) =>
    line.replace(/ \(ignore_errors=\w+\)$/, ''),
  );
  const unitFiles = [value('FragmentPath'), ...value('DropInPaths').split(' ')].filter(Boolean);
  const environment = await environmentOf(value('Environment'), environmentFiles);
  const workingDirectory = value('WorkingDirectory').replace(/^[-!]+/, '');
  return {
    unit,
    files: [...unitFiles, ...environmentFiles],
    workingDirectory: workingDirectory.startsWith('/') ? workingDirectory : '/',
    environment: environment instanceof Map ? environment : new Map(),
    ...commandLine({ program, commands: shown.get('ExecStart') ?? [], environment }),
  };
}

/** sd_booted(3) */
async function isSystemdRunning(): Promise<boolean> {
  return access('/run/systemd/system').then(
    () => true,
    () => false,
  );
}

type Unclear = { readonly unclear: string };

/**
 * The environment of the service, in which files override `Environment=`. Reads only plain
 * assignments, because systemd's other quoting is rare and easy to misread. Returns a reason if
 * an assignment is not plain.
 */
async function environmentOf(
  shown: string,
  files: readonly string[],
): Promise<Environment | Unclear> {
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

function commandLine({
  program,
  commands,
  environment,
}: {
  readonly program: string;
  readonly commands: readonly string[];
  readonly environment: Environment | Unclear;
}): Pick<Service, 'words' | 'unclear'> {
  const { path = '', line = '' } =
    /^\{ path=(?<path>.*?) ; argv\[\]=(?<line>.*?) ; ignore_errors=/.exec(commands.at(-1) ?? '')
      ?.groups ?? {};
  if (basename(path) !== program) {
    const started = printable(path, 80) || 'nothing';
    return { unclear: `it starts ${started} instead of ${program}` };
  }
  if ('unclear' in environment) return environment;
  const words = line.split(/\s+/).slice(1);
  const expanded = words.flatMap((word) => expand(word, environment) ?? [undefined]);
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
function expand(word: string, variables: Environment): string[] | undefined {
  const alone = /^\$([A-Za-z_]\w*)$/.exec(word)?.[1];
  if (alone !== undefined) return (variables.get(alone) ?? '').split(/\s+/).filter(Boolean);
  const text = word.replace(
    /\$\{([A-Za-z_]\w*)\}/g,
    (_, name: string) => variables.get(name) ?? '',
  );
  return /["'\\$]/.test(text) ? undefined : [text];
}

/**
 * The program takes no arguments, so such a word is part of a quoted word, which systemctl shows
 * without quotes.
 */
function isStray(word: string, previous = '--name=value'): boolean {
  return !word.startsWith('-') && (!previous.startsWith('-') || previous.includes('='));
}
