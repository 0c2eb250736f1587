import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What tests of the pages share: reading a page, and its tables and code. */

export const root = join(import.meta.dirname, '../..');

export const pages: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...globSync('docs/*.md', { cwd: root }).toSorted(),
];

/** @param path from the root of the repository */
export async function read(path: string): Promise<string> {
  return readFile(join(root, path), 'utf8');
}

/** The part of a page from one heading of the second level to the next. */
export function section(text: string, heading: string): string {
  return text.split('\n## ').find((part) => part.startsWith(`${heading}\n`)) ?? '';
}

/** The cells of every table row that begins with code, such as a key or an id. */
export function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

/** The text of a cell without the marks of code. */
export function plain(cell: string | undefined): string {
  return (cell ?? '').replaceAll('`', '');
}

/** The blocks and spans of code on a page, each on separate lines. */
export async function codeOf(page: string): Promise<string> {
  const code = (await read(page)).matchAll(/```\w*\n(?<block>.*?)```|`(?<span>[^`\n]+)`/gs);
  return [...code].map(({ groups: { block, span } = {} }) => block ?? span).join('\n');
}

/** All sources of a folder, to search for an id in them. */
export async function sourceOf(folder: string, without?: string): Promise<string> {
  const files = globSync(`${folder}/*.ts`, { cwd: root }).filter((file) => file !== without);
  return (await Promise.all(files.map(read))).join('\n');
}

/** The ids of the findings of `trust sync`. */
export async function trustFindingIds(): Promise<ReadonlySet<string>> {
  const source = await sourceOf('src/trust/node');
  return new Set([...source.matchAll(/\bid: '(\w+)'/g)].map(([, id = '']) => id));
}
