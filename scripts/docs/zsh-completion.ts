import type { Command } from 'commander';
import type { ProgramModel } from '../../src/cli/program.ts';
import {
  groupsOf,
  helpCommand,
  helpWordsOf,
  isGroup,
  membersOf,
  operandsOf,
  optionsOf,
  wordsOf,
} from './cli-model.ts';
import type { OptionModel, OptionValue } from './cli-model.ts';

/** For a directory in zsh's fpath, as `_nodecertd`. */
export function zshCompletion({ program }: ProgramModel): string {
  const name = program.name();
  const groups = groupsOf(program);
  return `#compdef ${name}
# zsh completion of ${name}, made from the options of its commands

${groups.map((group) => groupFunctions(group, name, helpCase(groups, name))).join('\n')}
_${name} "$@"
`;
}

/** `_nodecertd` or `_nodecertd_certs` completes what follows; the other function proposes the members. */
function groupFunctions(group: Command, name: string, help: string): string {
  const own = functionOf(group, name);
  const members = membersOf(group);
  const cases = members.map((one) =>
    one.name() === helpCommand
      ? help
      : isGroup(one)
        ? `  ${one.name()}) ${functionOf(one, name)} ;;`
        : commandCase(one),
  );
  return `${own}_commands() {
  local -a commands=(
${members.map((one) => `    ${quoted(`${one.name()}:${one.description()}`)}`).join('\n')}
  )
  _describe -t commands command commands
}

${own}() {
  local curcontext=$curcontext state line
  _arguments -C \\
${optionsOf(group)
  .map((option) => `    ${specification(option)} \\`)
  .join('\n')}
    '1: :${own}_commands' \\
    '*:: :->arguments'
  [[ $state == arguments ]] || return
  case $line[1] in
${cases.join('\n')}
  esac
}
`;
}

function functionOf(group: Command, name: string): string {
  return `_${[name, ...wordsOf(group).split(' ')].filter(Boolean).join('_')}`;
}

/** By the words up to the cursor: `help ` proposes commands, and `help certs ` those of the group. */
function helpCase(groups: readonly Command[], name: string): string {
  const cases = groups.map(
    (group) => `    ${quoted(helpWordsOf(group))}) ${functionOf(group, name)}_commands ;;`,
  );
  return [
    `  ${helpCommand})`,
    '    case "${words[1,CURRENT-1]}" in',
    ...cases,
    '    esac',
    '    ;;',
  ].join('\n');
}

function commandCase(command: Command): string {
  const options = optionsOf(command).map(specification);
  const operands = operandsOf(command).map((value) => quoted(`*${action(value)}`));
  const lines = [...options, ...operands].map((line) => `      ${line}`);
  return `  ${command.name()})\n    _arguments \\\n${lines.join(' \\\n')}\n    ;;`;
}

/** One option of _arguments; the short and the long form exclude each other, and `*` allows repetition. */
function specification({ flags, text, value, repeats }: OptionModel): string {
  const explained = `[${text.replace(/[[\]\\]/g, '\\$&')}]${action(value)}`;
  const [first = ''] = flags;
  if (flags.length === 1) {
    return quoted(`${repeats ? '*' : ''}${withValue(first, value)}${explained}`);
  }
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
