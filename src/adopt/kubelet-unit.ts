import { basename, join } from 'node:path';
import { printable } from '../core/printable.ts';
import type { CommandWord } from '../kubelet/command-word.ts';
import { parseKubeletFlags } from '../kubelet/flags.ts';
import type { EnvironmentText, UnitSetting } from './systemd-unit.ts';
import { commandWords, environmentOf, parseUnit, serviceStart } from './systemd-unit.ts';
import type { Tree } from './tree.ts';

/** Where systemd looks for units, the first that has one of a name counts (systemd.unit(5)). */
const unitFolders = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** The command line that a unit starts the kubelet with. */
export interface UnitCommand {
  readonly unit: string;
  readonly file: string;
  /** Without the program itself; undefined when they cannot be told from the files. */
  readonly words?: readonly CommandWord[];
  /** Why not. */
  readonly unclear?: string;
  readonly workingDirectory: string;
  /** Names of the variables that are set. */
  readonly variables: readonly string[];
}

/** Absent when there is no such unit, or it is masked. */
export async function readUnitCommand(tree: Tree, unit: string): Promise<UnitCommand | undefined> {
  const found = await firstUnit(tree, unit);
  if (found === undefined || found.text === '') return undefined;
  const settings = [...parseUnit(found.text, found.file), ...(await dropInSettings(tree, unit))];
  const start = serviceStart(settings);
  const environment = environmentOf(start, await environmentTexts(tree, start.environmentFiles));
  const { workingDirectory } = start;
  const common = { unit, file: found.file, workingDirectory, variables: [...environment.keys()] };
  if (start.exec === undefined) return { ...common, unclear: `${found.file} has no ExecStart=` };
  const { file, line } = start.exec;
  const words = commandWords(start.exec, environment);
  const [program, ...rest] = words ?? [];
  if (program === undefined) {
    return { ...common, unclear: `line ${line} of ${file} has a quote without an end` };
  }
  if (basename(program.text) !== 'kubelet') {
    const what = `line ${line} of ${file} starts ${basename(program.text)}, not the kubelet itself`;
    return { ...common, unclear: what };
  }
  // A specifier (systemd.unit(5)), such as %H: only systemd knows what it stands for.
  const special = parseKubeletFlags(rest).find(({ value }) => /%[A-Za-z]|\p{C}/u.test(value));
  if (special !== undefined) {
    const { name, value } = special;
    const what = `--${name}=${printable(value, 80)} has a specifier of systemd, or what belongs in no path`;
    return { ...common, unclear: what };
  }
  return { ...common, words: rest };
}

async function firstUnit(tree: Tree, unit: string): Promise<EnvironmentText | undefined> {
  for (const folder of unitFolders) {
    const file = join(folder, unit);
    const text = await tree.readText(file);
    if (text !== undefined) return { file, text };
  }
  return undefined;
}

/** By name, whatever the folder: a drop-in in /etc hides one of the same name in /usr/lib. */
async function dropInSettings(tree: Tree, unit: string): Promise<UnitSetting[]> {
  const files = new Map<string, string>();
  for (const folder of unitFolders) {
    const names = await tree.list(join(folder, `${unit}.d`));
    for (const name of names.filter((candidate) => candidate.endsWith('.conf'))) {
      if (!files.has(name)) files.set(name, join(folder, `${unit}.d`, name));
    }
  }
  const settings: UnitSetting[] = [];
  for (const [, file] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    settings.push(...parseUnit((await tree.readText(file)) ?? '', file));
  }
  return settings;
}

async function environmentTexts(tree: Tree, files: readonly string[]): Promise<EnvironmentText[]> {
  const texts = await Promise.all(
    files.map(async (file) => ({ file, text: await tree.readText(file) })),
  );
  return texts.flatMap(({ file, text }) => (text === undefined ? [] : [{ file, text }]));
}
