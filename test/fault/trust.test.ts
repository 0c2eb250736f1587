import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { collectRows } from './collect-rows.ts';
import { trust } from './trust.ts';

describe('applyTrust()', { skip: skipWithout('strace') }, () => {
  it('killed or failing at a system call loses no CA', async (context) => {
    const rows = await collectRows(trust, context);
    assert.equal(rows.length, 2);
    for (const { fault, tried } of rows) assert.ok(tried >= 4, `${fault}: ${tried}`);
  });
});
