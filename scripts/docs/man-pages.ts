import type { Command } from 'commander';
import type { CommandModel, ProgramModel } from '../../src/cli/program.ts';
import { commandsOf, optionsOf, wordsOf } from './cli-model.ts';
import type { OptionModel } from './cli-model.ts';
import type { Fact } from './manual-facts.ts';
import { environmentVariables, files } from './manual-facts.ts';
import { bold, entry, example, italic, prose, section } from './roff.ts';

export interface Edition {
  readonly version: string;
  readonly date: Date;
}

/** The pages by file name: one for the program and one for each command. */
export async function manPages(
  model: ProgramModel,
  edition: Edition,
): Promise<ReadonlyMap<string, string>> {
  const own = model.program.name();
  const pages = model.commands.map((one) => commandPage(one, { own, edition }));
  return new Map([[`${own}.1`, await programPage(model, edition)], ...pages]);
}

async function programPage(model: ProgramModel, edition: Edition): Promise<string> {
  const { program, commands, exitCodes } = model;
  const name = program.name();
  const visible = commandsOf(program);
  return page(name, edition, [
    section('NAME', `${name} \\- ${prose(phrase(program.description()))}`),
    section('SYNOPSIS', ...visible.map((command) => synopsis(name, command)).map(onOwnLine)),
    section('DESCRIPTION', prose(program.description()), 'Each command has a page of its own.'),
    section(
      'COMMANDS',
      ...visible.map((one) => entry(bold(wordsOf(one)), sentence(one.description()))),
    ),
    section('OPTIONS', ...optionsOf(program).map(option)),
    exitStatus(exitCodes),
    section('FILES', ...(await files()).map(fact)),
    section('ENVIRONMENT', ...environmentVariables.map(fact)),
    examplesOf(
      name,
      commands.flatMap(({ examples }) => examples),
    ),
    seeAlso(commands.map((one) => pageName(name, one))),
  ]);
}

function commandPage(
  model: CommandModel,
  { own, edition }: { readonly own: string; readonly edition: Edition },
): readonly [string, string] {
  const { command, examples, exitCodes } = model;
  const name = pageName(own, model);
  const text = page(name, edition, [
    section('NAME', `${name} \\- ${prose(phrase(command.description()))}`),
    section('SYNOPSIS', synopsis(own, command)),
    section('DESCRIPTION', sentence(command.description())),
    section('OPTIONS', ...optionsOf(command).map(option)),
    exitStatus(exitCodes),
    examplesOf(own, examples),
    seeAlso([own], 'for files and environment'),
  ]);
  return [`${name}.1`, text];
}

/** `nodecertd-certs-verify` for `certs verify`. */
function pageName(own: string, { name }: CommandModel): string {
  return `${own}-${name.replaceAll(' ', '-')}`;
}

function page(name: string, { version, date }: Edition, sections: readonly string[]): string {
  const day = date.toISOString().slice(0, 10);
  const title = `.TH ${name.toUpperCase()} 1 ${day} "nodecertd ${version}" "nodecertd manual"`;
  // Left-aligned without hyphenation, so that copied text contains no added hyphens or spaces.
  return `${[title, '.nh', '.ad l', ...sections].join('\n')}\n`;
}

function option({ flags, text, value, repeats, defaultText }: OptionModel): string {
  const argument = value.kind === 'none' ? '' : ` ${italic(value.name)}${repeats ? ' ...' : ''}`;
  const remarks = [
    value.kind === 'words' ? `One of ${value.words.map(bold).join(', ')}.` : '',
    defaultText === undefined ? '' : `The default is ${bold(defaultText)}.`,
  ];
  const term = `${flags.map(bold).join(', ')}${argument}`;
  return entry(term, [sentence(text), ...remarks.filter(Boolean)].join('\n'));
}

function exitStatus(meanings: CommandModel['exitCodes']): string {
  const entries = Object.entries(meanings);
  return section(
    'EXIT STATUS',
    ...entries.map(([code, text]) => entry(bold(code), sentence(text))),
  );
}

function examplesOf(own: string, examples: CommandModel['examples']): string {
  const parts = examples.map(([line, purpose]) =>
    [`${prose(capitalized(purpose))}:`, example([`${own} ${line}`])].join('\n'),
  );
  return section('EXAMPLES', parts.join('\n.PP\n'));
}

function seeAlso(names: readonly string[], remark = ''): string {
  // `\%` prevents hyphenation of the names.
  const pages = names.map((name) => `\\%${bold(name)}(1)`).join(',\n');
  return section('SEE ALSO', `${pages} ${remark}`.trim());
}

function fact({ name, text }: Fact): string {
  return entry(bold(name), prose(text));
}

function synopsis(own: string, command: Command): string {
  return `${bold(`${own} ${wordsOf(command)}`)} ${parametersOf(command)}`.trim();
}

/** Puts each form of the command line on its own line. */
function onOwnLine(line: string, index: number): string {
  return index === 0 ? line : `.br\n${line}`;
}

function parametersOf(command: Command): string {
  const options = command.options.length > 0 ? [`[${italic('options')}]`] : [];
  const operands = command.registeredArguments.map((one) => {
    const name = `${italic(one.name())}${one.variadic ? ' ...' : ''}`;
    return one.required ? name : `[${name}]`;
  });
  return [...options, ...operands].join(' ');
}

/** For the NAME section: starts in lower case and has no final period. */
function phrase(text: string): string {
  return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`.replace(/\.$/, '');
}

function sentence(text: string): string {
  return `${prose(capitalized(text))}.`.replace(/\.\.$/, '.');
}

/** Flags and file names stay unchanged, even at the start of a sentence. */
function capitalized(text: string): string {
  return /^[a-z]+\b(?![.-])/.test(text)
    ? `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`
    : text;
}
