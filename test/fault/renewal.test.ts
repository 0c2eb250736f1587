import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithout } from '../support/programs.ts';
import { collectRows } from './collect-rows.ts';
import { commands } from './renewal/commands.ts';
import { renewal } from './renewal.ts';

describe('certs', { skip: skipWithout('strace') }, () => {
  it('killed or failing at a system call loses no file', async (context) => {
    const rows = await collectRows(renewal, context);
    assert.equal(rows.length, commands.length);
    for (const { fault, tried } of rows) assert.ok(tried >= 4, `${fault}: ${tried}`);
  });
});
