import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skip as skipBecause } from '../support/programs.ts';
import { collectRows } from './collect-rows.ts';
import { fileSystem } from './file-system.ts';
import { scaled } from '../support/machine-speed.ts';

const skip =
  process.getuid?.() === 0 ? false : skipBecause('tests that mount file systems: not root');

describe('the file system', { skip }, () => {
  it('may be full, read-only, removed or replaced: the agent recovers', async (context) => {
    const rows = await collectRows(fileSystem, context);
    assert.equal(rows.length, 6);
    for (const { fault, recovery = 0 } of rows) {
      assert.ok(recovery > 0 && recovery < scaled(30), `${fault}: ${recovery} s`);
    }
  });
});
