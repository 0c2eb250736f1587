import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { layers, unrestricted } from '../../scripts/layers.ts';

const text = await readFile(new URL('../../docs/architecture.md', import.meta.url), 'utf8');

/** The rows that scripts/layers.ts asks for. */
const expected = [
  ...Object.entries(layers).map(([folder, { holds, imports }]) =>
    row(folder, holds, imports.join(', ') || 'nothing'),
  ),
  ...Object.entries(unrestricted).map(([folder, { holds, mayNotImport }]) =>
    row(folder, holds, ['every folder', ...mayNotImport].join(' but ')),
  ),
];

function row(folder: string, holds: string, imports: string): string {
  return `| \`src/${folder}/\` | ${holds} | ${imports} |`;
}

describe('architecture.md', () => {
  it('has the table of scripts/layers.ts', () => {
    const rows = text.split('\n').filter((line) => line.startsWith('| `src/'));
    assert.deepEqual(rows, expected);
  });
});
