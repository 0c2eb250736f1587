import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { findingGroups, severities } from '../../src/core/findings.ts';

const root = new URL('../../', import.meta.url);
const text = await readFile(new URL('docs/doctor.md', root), 'utf8');
const files = globSync('src/{doctor,kubelet,kube}/*.ts', { cwd: root.pathname });
const sources = await Promise.all(files.map((file) => readFile(new URL(file, root), 'utf8')));
const source = withoutValues(sources.join('\n'));

/** `chmod 600 PATH` in the table is `chmod 600 ${path}` in the program; both become `chmod 600 …`. */
function withoutValues(text: string): string {
  return text.replace(/\$\{[^}]*\}|\b(?:PATH|NAME|PID|FILE)\b/g, '…');
}

interface Row {
  readonly id: string;
  readonly found: readonly string[];
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

function rowOf(line: string): Row {
  const [, id = '', found = '', what = '', why = '', remedy = ''] = line
    .split('|')
    .map((cell) => cell.trim());
  return { id: id.replaceAll('`', ''), found: found.split(', '), what, why, remedy };
}

const sections = text
  .split('\n## ')
  .slice(1)
  .map((section) => ({
    group: section.slice(0, section.indexOf('\n')),
    rows: section
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map(rowOf),
  }));
const rows = sections.flatMap((section) => section.rows);

describe('doctor.md', () => {
  it('lists every finding once, under its heading and in the order of the program', () => {
    const documented = sections.map(({ group, rows }) => [group, rows.map(({ id }) => id)]);
    assert.deepEqual(Object.fromEntries(documented), findingGroups);
  });

  it('lists only findings that the program reports', () => {
    const unused = rows.filter(({ id }) => !source.includes(`'${id}'`));
    assert.deepEqual(unused, []);
  });

  for (const { id, found, what, why, remedy } of rows) {
    it(`explains ${id} with existing severities, a meaning, a reason, and a remedy`, () => {
      assert.deepEqual(
        found.filter((word) => !severities.some((severity) => severity === word)),
        [],
      );
      assert.match(what, /\.$/);
      assert.ok(remedy.length > 0);
      const needsReason = found.includes('error') || found.includes('warning');
      assert.ok(!needsReason || why.length > 0, 'an error or a warning needs a reason');
    });
  }

  it('contains only commands that the findings contain', () => {
    const spans = rows.flatMap(({ remedy }) =>
      remedy.split('`').filter((_, index) => index % 2 === 1),
    );
    const commands = spans.filter((span) => span.includes(' ')).map(withoutValues);
    assert.ok(commands.length > 25);
    const missing = commands.filter((command) => !source.includes(command));
    assert.deepEqual(missing, []);
  });
});
