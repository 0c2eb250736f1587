import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { layers, unrestricted } from '../../scripts/layers.ts';
import { read, root, section, tableRows } from './pages.ts';

/** The rows that scripts/layers.ts asks for. */
const expected = [
  ...Object.entries(layers).map(([folder, { holds, imports }]) => [
    `\`src/${folder}/\``,
    holds,
    imports.join(', ') || 'nothing',
  ]),
  ...Object.entries(unrestricted).map(([folder, { holds, mayNotImport }]) => [
    `\`src/${folder}/\``,
    holds,
    ['every folder', ...mayNotImport].join(' but '),
  ]),
];

describe('architecture.md', () => {
  it('has the table of scripts/layers.ts', async () => {
    const layersSection = section(await read('docs/architecture.md'), 'Folders and layers');
    assert.deepEqual(tableRows(layersSection), expected);
  });

  it('names files that exist in the path of one certificate', async () => {
    const path = section(await read('docs/architecture.md'), 'The path of one certificate');
    const folders = Object.keys(layers).join('|');
    const files = path.matchAll(new RegExp(`\\b(?:${folders})/[a-z-]+`, 'g'));
    const missing = [...files].filter(([file]) => !existsSync(join(root, `src/${file}.ts`)));
    assert.deepEqual(missing, []);
  });
});
