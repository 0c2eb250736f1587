import type { Command } from 'commander';
import type { ProgramModel } from '../../src/cli/program.ts';
import { helpCommand, operandsOf, optionsOf } from './cli-model.ts';
import type { OptionModel, OptionValue } from './cli-model.ts';

/** For a directory in zsh's fpath, as `_nodecertd`. */
export function zshCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const commands = program.createHelp().visibleCommands(program);
  const withOptions = commands.filter((command) => command.name() !== helpCommand);
  return `#compdef ${name}
# zsh completion of ${name}, made from the options of its commands

_${name}_commands() {
  local -a commands=(
${commands.map((one) => `    ${quoted(`${one.name()}:${one.description()}`)}`).join('\n')}
  )
  _describe -t commands command commands
}

_${name}() {
  local curcontext=$curcontext state line
  _arguments -C \\
${optionsOf(program)
  .map((option) => `    ${specification(option)} \\`)
  .join('\n')}
    '1: :_${name}_commands' \\
    '*:: :->arguments'
  [[ $state == arguments ]] || return
  case $line[1] in
${withOptions.map(commandCase).join('\n')}
  ${helpCommand}) _arguments '1: :_${name}_commands' ;;
  esac
}

_${name} "$@"
`;
}

function commandCase(command: Command): string {
  const options = optionsOf(command).map(specification);
  const operands = operandsOf(command).map((value) => quoted(`*${action(value)}`));
  const lines = [...options, ...operands].map((line) => `      ${line}`);
  return `  ${command.name()})\n    _arguments \\\n${lines.join(' \\\n')}\n    ;;`;
}

/** One option of _arguments; the short and the long form exclude each other. */
function specification({ flags, text, value }: OptionModel): string {
  const explained = `[${text.replace(/[[\]\\]/g, '\\$&')}]${action(value)}`;
  const [first = ''] = flags;
  if (flags.length === 1) return quoted(`${withValue(first, value)}${explained}`);
  const forms = flags.map((flag) => withValue(flag, value)).join(',');
  return `${quoted(`(${flags.join(' ')})`)}{${forms}}${quoted(explained)}`;
}

/** `--config=` accepts the value after the sign or in the next word, `-o+` also in the same word. */
function withValue(flag: string, { kind }: OptionValue): string {
  if (kind === 'none') return flag;
  return flag.startsWith('--') ? `${flag}=` : `${flag}+`;
}

function action(value: OptionValue): string {
  if (value.kind === 'none') return '';
  const message = value.name.replaceAll(':', '\\:');
  switch (value.kind) {
    case 'words':
      return `:${message}:(${value.words.join(' ')})`;
    case 'file':
      return `:${message}:_files`;
    case 'folder':
      return `:${message}:_files -/`;
    case 'text':
      return `:${message}: `;
    default:
      return value satisfies never;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
