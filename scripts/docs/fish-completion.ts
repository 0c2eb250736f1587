import type { Command } from 'commander';
import type { ProgramModel } from '../../src/cli/program.ts';
import {
  commandsOf,
  groupsOf,
  helpCommand,
  helpWordsOf,
  membersOf,
  operandsOf,
  optionsOf,
  wordsOf,
} from './cli-model.ts';
import type { OptionModel, OptionValue } from './cli-model.ts';

/** For a completion directory of fish, as `nodecertd.fish`. */
export function fishCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const groups = groupsOf(program);
  const commands = commandsOf(program).filter((command) => command.name() !== helpCommand);
  const line = (words: string, rest: string): string =>
    `complete -c ${name} -n ${quoted(`__${name}_command_is ${words}`.trim())} ${rest}`;
  const prefixes = groups.flatMap((group) => [wordsOf(group), helpWordsOf(group)]).filter(Boolean);
  return `# fish completion of ${name}, made from the options of its commands

# True if the words before the cursor call this command. Options before the command take no value.
function __${name}_command_is
    set -l command
    for word in (commandline -opc)[2..]
        string match -q -- '-*' $word; and continue
        set -a command $word
        contains -- "$command" ${prefixes.map(quoted).join(' ')}; or break
    end
    test "$command" = "$argv"
end

complete -c ${name} -f
${[
  ...groups.flatMap((group) => groupLines(group, line)),
  ...commands.flatMap((command) => commandLines(command, line)),
].join('\n')}
`;
}

type Line = (words: string, rest: string) => string;

function groupLines(group: Command, line: Line): string[] {
  const members = membersOf(group).map(
    (command) => `-a ${command.name()} -d ${quoted(command.description())}`,
  );
  return [
    ...[...members, ...optionsOf(group).map(specification)].map((rest) =>
      line(wordsOf(group), rest),
    ),
    ...members.map((rest) => line(helpWordsOf(group), rest)),
  ];
}

function commandLines(command: Command, line: Line): string[] {
  const operands = operandsOf(command).flatMap(argument);
  return [...operands, ...optionsOf(command).map(specification)].map((rest) =>
    line(wordsOf(command), rest),
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
