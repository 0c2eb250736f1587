import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { conditions } from '../../src/cli/status-report.ts';
import { certificateStates } from '../../src/core/status.ts';
import { plain, read, section, tableRows } from './pages.ts';

const text = await read('docs/operations.md');

/** What the first column of a section's table names; no cell may be empty. */
function namesIn(heading: string): string[] {
  const rows = tableRows(section(text, heading));
  for (const row of rows) assert.ok(row.every(Boolean), `${row[0]}: an empty cell`);
  return rows.map(([name]) => plain(name)).toSorted();
}

describe('operations.md', () => {
  it('explains every state and every condition', () => {
    assert.deepEqual(namesIn('States'), [...certificateStates].toSorted());
    assert.deepEqual(namesIn('Conditions'), [...conditions].toSorted());
  });

  it('has a remedy for every alert', async () => {
    const { groups } = parse(await read('config/prometheus-rules.yaml')) as {
      readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
    };
    const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
    const ofApprover = tableRows(section(await read('docs/approver.md'), 'Alerts'));
    const documented = [...namesIn('Alerts'), ...ofApprover.map(([name]) => plain(name))];
    assert.deepEqual(documented.toSorted(), alerts.toSorted());
  });
});
