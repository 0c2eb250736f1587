import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noteIds, obstacleIds, stepIds } from '../../src/adopt/plan.ts';
import { plain, read, section, sourceOf, tableRows } from './pages.ts';

const text = await read('docs/adopt.md');

describe('adopt.md', () => {
  const lists = { steps: stepIds, obstacles: obstacleIds, notes: noteIds };
  for (const [heading, ids] of Object.entries(lists)) {
    it(`lists the ${heading} of the source, in their order, each with a meaning`, () => {
      const rows = tableRows(section(text, heading));
      assert.deepEqual(
        rows.map(([id]) => plain(id)),
        ids,
      );
      for (const [id, meaning] of rows) assert.ok(meaning, `${id}: no meaning`);
    });
  }

  it('lists no id that the source does not use', async () => {
    const source = await sourceOf('src/adopt', 'src/adopt/plan.ts');
    const ids = Object.values(lists).flat();
    const unused = ids.filter((id) => !source.includes(`'${id}'`));
    assert.deepEqual(unused, []);
  });
});
