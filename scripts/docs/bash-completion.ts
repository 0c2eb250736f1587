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
import type { OptionValue } from './cli-model.ts';
import type { Command } from 'commander';

/**
 * For bash 4 and later. Uses builtins only, so that the file can be sourced without the
 * package bash-completion.
 */
export function bashCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const groups = groupsOf(program);
  const commands = commandsOf(program).filter((command) => command.name() !== helpCommand);
  return `# bash completion of ${name}, made from the options of its commands

_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= word
  # --option=value arrives as three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  # Options before the command take no value.
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    command+=\${command:+ }$word
    case $command in
    ${groups.flatMap(prefixes).join(' | ')}) ;;
    *) break ;;
    esac
  done
  COMPREPLY=()
  case $command:$prev in
${commands.flatMap(valueCases).join('\n')}
  *)
    case $command in
${[...groups.flatMap(groupCases), ...commands.map(flagCase)].join('\n')}
    esac
    ;;
  esac
}

complete -F _${name} ${name}
`;
}

/** The words after which the next word continues the name of a command. */
function prefixes(group: Command): string[] {
  return [wordsOf(group), helpWordsOf(group)].filter(Boolean).map(quoted);
}

function groupCases(group: Command): string[] {
  const names = membersOf(group).map((command) => command.name());
  return [
    `    ${quoted(wordsOf(group))}) ${proposed([...names, ...flagsOf(group)])} ;;`,
    `    ${quoted(helpWordsOf(group))}) ${proposed(names)} ;;`,
  ];
}

function valueCases(command: Command): string[] {
  return optionsOf(command)
    .filter(({ value }) => value.kind !== 'none')
    .map((option) => {
      const patterns = option.flags
        .map((flag) => quoted(`${wordsOf(command)}:${flag}`))
        .join(' | ');
      return `  ${patterns}) ${proposals(option.value)} ;;`;
    });
}

/** Values that cannot be listed, such as a host name, get no proposal. */
function proposals(value: OptionValue): string {
  switch (value.kind) {
    case 'words':
      return proposed(value.words);
    case 'file':
      return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")';
    case 'folder':
      return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")';
    case 'text':
    case 'none':
      return ':';
    default:
      return value satisfies never;
  }
}

/** Proposes flags for a word that starts with a dash, and operands for other words. */
function flagCase(command: Command): string {
  const flags = proposed(flagsOf(command));
  const pattern = quoted(wordsOf(command));
  const operand = operandsOf(command).find(({ kind }) => kind !== 'text');
  if (operand === undefined) return `    ${pattern}) ${flags} ;;`;
  return `    ${pattern}) if [[ $cur == -* ]]; then ${flags}; else ${proposals(operand)}; fi ;;`;
}

function flagsOf(command: Command): string[] {
  return optionsOf(command).flatMap(({ flags }) => flags);
}

function proposed(words: readonly string[]): string {
  return `mapfile -t COMPREPLY < <(compgen -W '${words.join(' ')}' -- "$cur")`;
}

function quoted(words: string): string {
  return `'${words}'`;
}
