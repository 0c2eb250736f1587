import type { Argument, Command, Option } from 'commander';
import { describeProgram } from '../../src/cli/program.ts';
import type { ProgramModel } from '../../src/cli/program.ts';
import { systemClock } from '../../src/sys/clock.ts';

/** The value of an option, as shells and manual pages present it. */
export type OptionValue =
  | { readonly kind: 'none' }
  | { readonly kind: 'words'; readonly name: string; readonly words: readonly string[] }
  | { readonly kind: 'file' | 'folder' | 'text'; readonly name: string };

export interface OptionModel {
  /** `-o` and `--output`, or the long form alone. */
  readonly flags: readonly string[];
  readonly text: string;
  readonly value: OptionValue;
  /** The option takes several values. */
  readonly repeats: boolean;
  /** The default, as a person would type it. */
  readonly defaultText?: string;
}

/** The commands and options of the program; no command runs. */
export async function readModel(): Promise<ProgramModel> {
  return describeProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    environment: { hostName: 'localhost', workingDirectory: '/' },
    clock: systemClock,
    startAgent: async () => 0,
    startApprover: async () => 0,
  });
}

/** The command whose operand is the name of another command. */
export const helpCommand = 'help';

/** The program itself, and the commands that only hold other commands, such as `certs`. */
export function groupsOf(program: Command): Command[] {
  return [program, ...membersOf(program).filter(isGroup)];
}

/** What the help of a group lists. */
export function membersOf(group: Command): Command[] {
  return group.createHelp().visibleCommands(group);
}

/** Every command that runs, and `help`; a group is replaced by its commands. */
export function commandsOf(program: Command): Command[] {
  return membersOf(program).flatMap((one) => (isGroup(one) ? membersOf(one) : [one]));
}

export function isGroup({ commands }: Command): boolean {
  return commands.length > 0;
}

/** The words that call a command, such as `certs verify`; empty for the program itself. */
export function wordsOf(command: Command): string {
  const { parent } = command;
  if (parent === null) return isGroup(command) ? '' : command.name();
  return `${wordsOf(parent)} ${command.name()}`.trim();
}

/** The words after which a shell proposes the members of a group as topics of `help`. */
export function helpWordsOf(group: Command): string {
  return `${helpCommand} ${wordsOf(group)}`.trim();
}

/** The options in the help of the command, including `--help`. */
export function optionsOf(command: Command): OptionModel[] {
  return command.createHelp().visibleOptions(command).map(toModel);
}

/** The operands of the command. */
export function operandsOf(command: Command): OptionValue[] {
  return command.registeredArguments.map(operand);
}

function operand(argument: Argument): OptionValue {
  return namedValue(argument.name(), argument.argChoices);
}

function toModel(option: Option): OptionModel {
  const { short, long, description } = option;
  const defaultText = defaultOf(option);
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    text: description,
    value: valueOf(option),
    repeats: option.variadic,
    ...(defaultText !== undefined && { defaultText }),
  };
}

/** Neither an empty list nor `false` is a default that a person would type. */
function defaultOf({ defaultValueDescription, defaultValue }: Option): string | undefined {
  if (defaultValueDescription !== undefined) return defaultValueDescription;
  const value: unknown = defaultValue;
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function valueOf({ flags, argChoices }: Option): OptionValue {
  const name = /<(.+?)(?:\.\.\.)?>/.exec(flags)?.[1];
  return name === undefined ? { kind: 'none' } : namedValue(name, argChoices);
}

/** Commander has no type for values, so the name decides: `--config <file>` takes a file. */
function namedValue(name: string, words: readonly string[] | undefined): OptionValue {
  if (words !== undefined) return { kind: 'words', name, words };
  return { kind: name === 'file' || name === 'folder' ? name : 'text', name };
}
