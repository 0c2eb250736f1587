import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FaultRow } from './family.ts';
import { soak } from './soak.ts';
import { formatRows } from './table.ts';

describe('long use', () => {
  it('leaks nothing over 100 rotations and a day of idle ticks', async (context) => {
    const options = { thorough: false, signal: context.signal, progress: silent };
    const rows: FaultRow[] = [];
    for await (const row of soak.run(options)) rows.push(row);
    context.diagnostic(formatRows(rows));
    assert.deepEqual(
      rows.map(({ tried }) => tried >= 100),
      [true, true],
    );
  });
});

function silent(): void {}
