import assert from 'node:assert/strict';
import { Command } from 'commander';
import { describe, it } from 'node:test';
import { configure as configureApply } from '../../src/cli/ca-rollover-apply.ts';
import { addRolloverOptions } from '../../src/cli/ca-rollover-options.ts';
import type { CliContext } from '../../src/cli/context.ts';
import { goals } from '../../src/cli/ca-rollover-wait.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { gateNames } from '../../src/trust/cluster/gate.ts';
import { plain, read, section, tableRows } from './pages.ts';

const context: CliContext = {
  stdout: { write: () => true },
  stderr: { write: () => true },
  environment: { hostName: 'here', workingDirectory: '/' },
  clock: systemClock,
  startAgent: async () => 0,
  startApprover: async () => 0,
};

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

  it('explains every option of status, wait and apply', async () => {
    const apply = new Command();
    configureApply(apply, context, () => undefined);
    const options = [...addRolloverOptions(new Command()).options, ...apply.options];
    const cells = tableRows(section(text, 'The commands')).map(([cell = '']) => cell);
    const listed = cells.flatMap((cell) => [...cell.matchAll(/--[a-z-]+/g)].map(String));
    const missing = options.flatMap(({ long }) =>
      long === undefined || long === null || listed.includes(long) ? [] : [long],
    );
    assert.deepEqual(missing, []);
  });
});
