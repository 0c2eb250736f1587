import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { collectRows } from './collect-rows.ts';
import { renewal } from './renewal.ts';

describe('certs renew', { skip: skipWithout('strace') }, () => {
  it('killed or failing at a system call loses no file', async (context) => {
    const [row] = await collectRows(renewal, context);
    assert.ok(row !== undefined && row.tried >= 4, `${row?.tried}`);
  });
});
