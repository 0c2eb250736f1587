import assert from 'node:assert/strict';
import { Command } from 'commander';
import { describe, it } from 'node:test';
import { addDiscoverOptions } from '../../src/cli/discover-options.ts';
import { exitCodes } from '../../src/cli/discover.ts';
import { read, section, sourceOf, tableRows } from './pages.ts';

const text = await read('docs/discovery.md');

describe('discovery.md', () => {
  it('lists every option of the command once', () => {
    const options = addDiscoverOptions(new Command()).options.map(
      ({ short, long }) => short ?? long,
    );
    const listed = tableRows(section(text, 'Options')).flatMap(([cell = '']) =>
      [...cell.matchAll(/`(-[a-z-]+)`/g)].map(([, name]) => name),
    );
    assert.equal(listed.length, options.length);
    assert.deepEqual(new Set(listed), new Set(options));
  });

  it('explains messages that the program has', async () => {
    const folders = ['discovery', 'store', 'cli'].map((folder) => sourceOf(`src/${folder}`));
    const source = (await Promise.all(folders)).join('\n');
    const rows = section(text, 'Messages').match(/^\| `.*?(?= \| )/gm) ?? [];
    assert.ok(rows.length > 10);
    const parts = rows.flatMap((row) => [...row.matchAll(/`([^`]+)`/g)].map(([, part]) => part));
    const pieces = parts.flatMap((part = '') => part.split('…')).map((piece) => piece.trim());
    const missing = pieces.filter((piece) => !source.includes(piece));
    assert.deepEqual(missing, []);
  });

  it('has the exit codes of the command', () => {
    for (const [code, meaning] of Object.entries(exitCodes)) {
      assert.ok(text.replaceAll('`', '').includes(`| ${code} | ${meaning} |`), meaning);
    }
  });
});
