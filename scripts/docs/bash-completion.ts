import type { ProgramModel } from '../../src/cli/program.ts';
import { helpCommand, operandsOf, optionsOf } from './cli-model.ts';
import type { OptionValue } from './cli-model.ts';
import type { Command } from 'commander';

/**
 * For bash 4 and later. Uses builtins only, so that the file can be sourced without the
 * package bash-completion.
 */
export function bashCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const commands = program.createHelp().visibleCommands(program);
  const names = commands.map((command) => command.name());
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
    if [[ $word != -* ]]; then
      command=$word
      break
    fi
  done
  COMPREPLY=()
  case $command:$prev in
${commands.flatMap(valueCases).join('\n')}
  *)
    case $command in
    '') mapfile -t COMPREPLY < <(compgen -W '${[...names, ...flagsOf(program)].join(' ')}' -- "$cur") ;;
    ${helpCommand}) mapfile -t COMPREPLY < <(compgen -W '${names.join(' ')}' -- "$cur") ;;
${commands
  .filter((command) => command.name() !== helpCommand)
  .map(flagCase)
  .join('\n')}
    esac
    ;;
  esac
}

complete -F _${name} ${name}
`;
}

function valueCases(command: Command): string[] {
  return optionsOf(command)
    .filter(({ value }) => value.kind !== 'none')
    .map((option) => {
      const patterns = option.flags.map((flag) => `${command.name()}:${flag}`).join(' | ');
      return `  ${patterns}) ${proposals(option.value)} ;;`;
    });
}

/** Values that cannot be listed, such as a host name, get no proposal. */
function proposals(value: OptionValue): string {
  switch (value.kind) {
    case 'words':
      return `mapfile -t COMPREPLY < <(compgen -W '${value.words.join(' ')}' -- "$cur")`;
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
  const flags = `mapfile -t COMPREPLY < <(compgen -W '${flagsOf(command).join(' ')}' -- "$cur")`;
  const operand = operandsOf(command).find(({ kind }) => kind !== 'text');
  if (operand === undefined) return `    ${command.name()}) ${flags} ;;`;
  return `    ${command.name()}) if [[ $cur == -* ]]; then ${flags}; else ${proposals(operand)}; fi ;;`;
}

function flagsOf(command: Command): string[] {
  return optionsOf(command).flatMap(({ flags }) => flags);
}
