import type { Command } from 'commander';
import type { ProgramModel } from '../../src/cli/program.ts';
import { helpCommand, operandsOf, optionsOf } from './cli-model.ts';
import type { OptionModel, OptionValue } from './cli-model.ts';

/** For a completion directory of fish, as `nodecertd.fish`. */
export function fishCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const commands = program.createHelp().visibleCommands(program);
  const names = commands.map((command) => command.name()).join(' ');
  const first = `not __fish_seen_subcommand_from ${names}`;
  const line = (condition: string, rest: string): string =>
    `complete -c ${name} -n ${quoted(condition)} ${rest}`;
  return `# fish completion of ${name}, made from the options of its commands

complete -c ${name} -f
${[
  ...commands.map((one) => line(first, `-a ${one.name()} -d ${quoted(one.description())}`)),
  ...optionsOf(program).map((option) => line(first, specification(option))),
  line(`__fish_seen_subcommand_from ${helpCommand}`, `-a ${quoted(names)}`),
  ...commands.flatMap((command) => commandLines(command, line)),
].join('\n')}
`;
}

function commandLines(
  command: Command,
  line: (condition: string, rest: string) => string,
): string[] {
  const condition = `__fish_seen_subcommand_from ${command.name()}`;
  const operands = command.name() === helpCommand ? [] : operandsOf(command).flatMap(argument);
  return [...operands, ...optionsOf(command).map(specification)].map((rest) =>
    line(condition, rest),
  );
}

function specification({ flags, text, value }: OptionModel): string {
  const forms = flags.map((flag) =>
    flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
  );
  const taken = value.kind === 'file' ? ['-r'] : value.kind === 'none' ? [] : ['-x'];
  return [...forms, ...taken, ...argument(value), `-d ${quoted(text)}`].join(' ');
}

/** The proposals for a value. In fish, -r requires a value that may be a file, and -x a value that is no file. */
function argument(value: OptionValue): string[] {
  switch (value.kind) {
    case 'words':
      return [`-a ${quoted(value.words.join(' '))}`];
    case 'file':
      return ['-F'];
    case 'folder':
      return ["-a '(__fish_complete_directories)'"];
    case 'text':
    case 'none':
      return [];
    default:
      return value satisfies never;
  }
}

/** In single quotes, fish has these two escapes only. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
