import assert from 'node:assert/strict';
import { Command } from 'commander';
import { describe, it } from 'node:test';
import { addRolloverOptions } from '../../src/cli/ca-rollover-options.ts';
import { goals } from '../../src/cli/ca-rollover-wait.ts';
import { gateNames } from '../../src/trust/cluster/gate.ts';
import { plain, read, section, tableRows } from './pages.ts';

const text = await read('docs/ca-rollover.md');

describe('ca-rollover.md', () => {
  it('explains every gate in its order, and every state with its exit code', () => {
    const rows = tableRows(section(text, 'Gates')).map((row) => row.map(plain));
    for (const row of rows) assert.ok(row.every(Boolean), `${row[0]}: an empty cell`);
    const gates = Object.entries(gateNames);
    assert.deepEqual(
      rows.slice(0, gates.length).map(([id, name]) => [id, name]),
      gates,
    );
    const states = rows.slice(gates.length).map(([state, , code]) => [state, Number(code)]);
    assert.deepEqual(states, [
      ['open', 0],
      ['waiting', 3],
      ['unknown', 3],
      ['harmful', 4],
    ]);
  });

  it('explains every goal of wait', () => {
    const cells = tableRows(section(text, 'The commands')).map(([cell]) => plain(cell));
    for (const goal of Object.keys(goals)) assert.ok(cells.includes(goal), goal);
  });

  it('explains every option of status and wait', () => {
    const { options } = addRolloverOptions(new Command());
    const cells = tableRows(section(text, 'The commands')).map(([cell = '']) => cell);
    const listed = cells.flatMap((cell) => [...cell.matchAll(/--[a-z-]+/g)].map(String));
    const missing = options.flatMap(({ long }) =>
      long === undefined || long === null || listed.includes(long) ? [] : [long],
    );
    assert.deepEqual(missing, []);
  });
});
