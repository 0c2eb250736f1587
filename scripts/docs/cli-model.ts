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
  /** The default, as a person would type it. */
  readonly defaultText?: string;
}

/**
 * The commands and options of the program; no command runs.
 * @throws if a command has subcommands, which the pages and completions do not support
 */
export async function readModel(): Promise<ProgramModel> {
  const model = await describeProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    environment: { hostName: 'localhost', workingDirectory: '/' },
    clock: systemClock,
    startAgent: async () => 0,
  });
  for (const { command } of model.commands) {
    if (command.commands.length > 0) throw new Error(`${command.name()} has subcommands`);
  }
  return model;
}

/** The command whose operand is the name of another command. */
export const helpCommand = 'help';

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
  const { short, long, description, defaultValue, defaultValueDescription } = option;
  const defaultText = defaultValueDescription ?? (defaultValue as string | number | undefined);
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    text: description,
    value: valueOf(option),
    ...(defaultText !== undefined && { defaultText: `${defaultText}` }),
  };
}

function valueOf({ flags, argChoices }: Option): OptionValue {
  const name = /<(.+)>/.exec(flags)?.[1];
  return name === undefined ? { kind: 'none' } : namedValue(name, argChoices);
}

/** Commander has no type for values, so the name decides: `--config <file>` takes a file. */
function namedValue(name: string, words: readonly string[] | undefined): OptionValue {
  if (words !== undefined) return { kind: 'words', name, words };
  return { kind: name === 'file' || name === 'folder' ? name : 'text', name };
}
