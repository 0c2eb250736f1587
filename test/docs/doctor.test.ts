import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { findingGroups, severities } from '../../src/core/findings.ts';

const root = new URL('../../', import.meta.url);
const text = await readFile(new URL('docs/doctor.md', root), 'utf8');

/** Ids with their severities under each heading. */
const sections = text
  .split('\n## ')
  .slice(1)
  .map((section) => ({
    group: section.slice(0, section.indexOf('\n')),
    rows: section
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', ''))),
  }));

describe('doctor.md', () => {
  it('lists every finding of the source once, under its heading and in its order', () => {
    const documented = sections.map(({ group, rows }) => [group, rows.map(([, id]) => id)]);
    assert.deepEqual(Object.fromEntries(documented), findingGroups);
  });

  it('gives each finding severities that exist, and a meaning', () => {
    for (const [, id, found = '', meaning] of sections.flatMap(({ rows }) => rows)) {
      const unknown = found.split(', ').filter((word) => !severities.includes(word as 'ok'));
      assert.deepEqual(unknown, [], id ?? 'no id');
      assert.ok(meaning, `${id} without a meaning`);
    }
  });

  it('lists nothing that the source does not find', async () => {
    const files = globSync('src/doctor/*.ts', { cwd: root.pathname });
    const sources = await Promise.all(files.map((file) => readFile(new URL(file, root), 'utf8')));
    const source = sources.join('\n');
    const idle = Object.values(findingGroups)
      .flat()
      .filter((id) => !source.includes(`'${id}'`));
    assert.deepEqual(idle, []);
  });
});
