import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { skipWithoutRollover } from '../rollover/cluster.ts';
import { scenarios } from '../rollover/scenarios.ts';
import { requirePackages } from '../support/built-packages.ts';
import { scaled } from '../support/machine-speed.ts';

const program = join(import.meta.dirname, '../rollover/run.ts');
/** The longest scenario takes four minutes beside three other tests. */
const timeout = scaled(900_000);

/** Each scenario has a network of its own, so it runs in its own process. */
describe('a CA rollover', { skip: skipWithoutRollover(), concurrency: true }, () => {
  for (const { name } of scenarios.filter(({ isShort }) => isShort)) {
    it(name, async (t) => {
      requirePackages();
      const { code, output } = await run(name);
      assert.equal(code, 0, output);
      t.diagnostic(output);
    });
  }
});

async function run(name: string): Promise<{ readonly code: unknown; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, name], { timeout }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), output: stdout + stderr });
    });
  });
}
