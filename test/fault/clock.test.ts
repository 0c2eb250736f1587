import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { clock } from './clock.ts';
import type { FaultRow } from './family.ts';
import { formatRows } from './table.ts';

describe('the clock', { skip: skipWithout('faketime') }, () => {
  it('may jump, go back or start in 1970, and no pair is lost', async (context) => {
    const options = { thorough: false, signal: context.signal, progress: silent };
    const rows: FaultRow[] = [];
    for await (const row of clock.run(options)) rows.push(row);
    context.diagnostic(formatRows(rows));
    assert.equal(rows.length, 3);
    for (const { lost, recovery = 0 } of rows) {
      assert.equal(lost, 0);
      assert.ok(recovery > 0, 'nothing had to recover');
    }
  });
});

function silent(): void {}
