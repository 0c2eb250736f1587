import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { collectRows } from './collect-rows.ts';
import { trust } from './trust.ts';

describe('applyTrust()', { skip: skipWithout('strace') }, () => {
  it('loses no CA for a reader, or when it is killed or fails at a call', async (context) => {
    const rows = await collectRows(trust, context);
    assert.equal(rows.length, 4);
    for (const { fault, tried } of rows) assert.ok(tried >= 4, `${fault}: ${tried}`);
  });
});
