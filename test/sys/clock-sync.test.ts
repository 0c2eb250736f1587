import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { clockSync } from '../../src/sys/clock-sync.ts';
import type { ClockSync } from '../../src/sys/clock-sync.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { temporaryDirectory } from '../store/pairs.ts';

async function syncBy(context: TestContext, script: string): Promise<ClockSync> {
  const path = await temporaryDirectory(context);
  const program = join(path, 'timedatectl');
  await writeFile(program, `#!/bin/sh\n${script}\n`);
  await chmod(program, 0o755);
  return clockSync({ path, clock: systemClock, signal: new AbortController().signal });
}

describe('clockSync()', () => {
  const cases: readonly (readonly [string, ClockSync])[] = [
    ['echo "$2=yes" | /bin/sed s/--property=//', 'synchronized'],
    ['echo NTPSynchronized=no', 'unsynchronized'],
    ['echo "Failed to connect to bus" >&2; exit 1', 'unknown'],
    ['echo NTPSynchronized=', 'unknown'],
  ];
  for (const [script, expected] of cases) {
    it(`is ${expected} for timedatectl with ${script}`, async (context) => {
      assert.equal(await syncBy(context, script), expected);
    });
  }

  it('is unknown without timedatectl', async (context) => {
    const path = await temporaryDirectory(context);
    const { signal } = new AbortController();
    assert.equal(await clockSync({ path, clock: systemClock, signal }), 'unknown');
  });
});
