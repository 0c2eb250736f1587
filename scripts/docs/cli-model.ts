import type { Argument, Command, Option } from 'commander';
import { describeProgram } from '../../src/cli/program.ts';
import type { ProgramModel } from '../../src/cli/program.ts';
import { systemClock } from '../../src/sys/clock.ts';

/** What an option takes after it, as far as a shell or a manual page can say. */
export type OptionValue =
  | { readonly kind: 'none' }
  | { readonly kind: 'words'; readonly name: string; readonly words: readonly string[] }
  | { readonly kind: 'file' | 'folder' | 'text'; readonly name: string };

export interface OptionModel {
  /** `-o` and `--output`, or the long form alone. */
  readonly flags: readonly string[];
  readonly text: string;
  readonly value: OptionValue;
  /** As a person would type it. */
  readonly byDefault?: string;
}

/**
 * The commands as the program itself has them; nothing of this is ever run.
 * @throws if a command has commands of its own, which the pages and completions do not show
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
    if (command.commands.length > 0) throw new Error(`${command.name()} has commands of its own`);
  }
  return model;
}

/** The name of the command whose operand is another command. */
export const helpCommand = 'help';

/** What the help of the command lists, `--help` included. */
export function optionsOf(command: Command): OptionModel[] {
  return command.createHelp().visibleOptions(command).map(toModel);
}

/** What the command takes beside its options. */
export function operandsOf(command: Command): OptionValue[] {
  return command.registeredArguments.map(operand);
}

function operand(argument: Argument): OptionValue {
  return namedValue(argument.name(), argument.argChoices);
}

function toModel(option: Option): OptionModel {
  const { short, long, description, defaultValue, defaultValueDescription } = option;
  const byDefault = defaultValueDescription ?? (defaultValue as string | number | undefined);
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    text: description,
    value: valueOf(option),
    ...(byDefault !== undefined && { byDefault: `${byDefault}` }),
  };
}

function valueOf({ flags, argChoices }: Option): OptionValue {
  const name = /<(.+)>/.exec(flags)?.[1];
  return name === undefined ? { kind: 'none' } : namedValue(name, argChoices);
}

/** `--config <file>`: the name of a value says what it is; there is no other place where that is written. */
function namedValue(name: string, words: readonly string[] | undefined): OptionValue {
  if (words !== undefined) return { kind: 'words', name, words };
  return { kind: name === 'file' || name === 'folder' ? name : 'text', name };
}
