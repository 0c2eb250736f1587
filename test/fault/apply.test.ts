import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { apply } from './apply.ts';
import { collectRows } from './collect-rows.ts';

describe('ca-rollover apply', { skip: skipWithout('strace') }, () => {
  it('killed or failing at a system call loses no file', async (context) => {
    const rows = await collectRows(apply, context);
    assert.equal(rows.length, 12);
    for (const { fault, tried } of rows) assert.ok(tried >= 2, `${fault}: ${tried}`);
  });
});
