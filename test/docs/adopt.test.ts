import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { noteIds, obstacleIds, stepIds } from '../../src/adopt/plan.ts';

const root = new URL('../../', import.meta.url);
const text = await readFile(new URL('docs/adopt.md', root), 'utf8');

/** Ids and meanings under a heading. */
function rowsOf(heading: string): string[][] {
  const section = text.split('\n## ').find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));
}

describe('adopt.md', () => {
  const lists = { steps: stepIds, obstacles: obstacleIds, notes: noteIds };
  for (const [heading, ids] of Object.entries(lists)) {
    it(`lists the ${heading} of the source, in their order, each with a meaning`, () => {
      const rows = rowsOf(heading);
      assert.deepEqual(
        rows.map(([, id]) => id),
        ids,
      );
      for (const [, id, meaning] of rows) assert.ok(meaning, `${id} without a meaning`);
    });
  }

  it('lists nothing that the source does not find', async () => {
    const files = globSync('src/adopt/*.ts', { cwd: root.pathname }).filter(
      (file) => file !== 'src/adopt/plan.ts',
    );
    const sources = await Promise.all(files.map((file) => readFile(new URL(file, root), 'utf8')));
    const source = sources.join('\n');
    const idle = Object.values(lists)
      .flat()
      .filter((id) => !source.includes(`'${id}'`));
    assert.deepEqual(idle, []);
  });
});
