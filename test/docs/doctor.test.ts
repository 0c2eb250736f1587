import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findingGroups, severities } from '../../src/core/findings.ts';
import { plain, read, section, sourceOf, tableRows } from './pages.ts';

const text = await read('docs/doctor.md');
const source = withoutValues(
  (await sourceOf('src/{doctor,kubelet,kube,pki/inventory}')) +
    (await read('src/core/remedies.ts')),
);

/** `chmod 600 PATH` in the table is `chmod 600 ${path}` in the program; both become `chmod 600 …`. */
function withoutValues(text: string): string {
  return text.replace(/\$\{[^}]*\}|\b(?:PATH|NAME|PID|FILE)\b/g, '…');
}

const rows = tableRows(text).map(([id, found = '', what = '', why = '', remedy = '']) => ({
  id: plain(id),
  found: found.split(', '),
  what,
  why,
  remedy,
}));

describe('doctor.md', () => {
  it('lists every finding once, under its heading and in the order of the program', () => {
    const documented = Object.keys(findingGroups).map((group) => [
      group,
      tableRows(section(text, group)).map(([id]) => plain(id)),
    ]);
    assert.deepEqual(Object.fromEntries(documented), findingGroups);
    assert.equal(rows.length, Object.values(findingGroups).flat().length);
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
