import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { OwnCommandEnd } from '../../src/keeper/own-command.ts';
import { scanInventory } from '../../src/keeper/inventory-scan.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { OwnProgram } from './own-program.ts';

const last = 'nodecertd_inventory_last_scan_timestamp_seconds 1.5';

/** Scans with a shell script in the place of nodecertd. */
async function scanWith(
  context: TestContext,
  script: string,
  options: Partial<Parameters<typeof scanInventory>[0]> = {},
): Promise<OwnCommandEnd> {
  const program = await OwnProgram.create(context, script);
  const { signal } = new AbortController();
  return scanInventory({
    program: [program.path],
    paths: [],
    clock: systemClock,
    signal,
    ...options,
  });
}

describe('scanInventory()', () => {
  for (const code of [0, 3, 4]) {
    it(`takes the output of exit code ${code}`, async (context) => {
      const scan = await scanWith(context, `echo 'a 1'; echo '${last}'; exit ${code}`);
      assert.deepEqual(scan, { kind: 'complete', text: `a 1\n${last}\n` });
    });
  }

  it('passes the paths on', async (context) => {
    const script = `echo "$*"; echo '${last}'`;
    const scan = await scanWith(context, script, { paths: ['/a b', '/srv/**/*.crt'] });
    const args = 'certs check-expiration --output prometheus --path /a b --path /srv/**/*.crt';
    assert.deepEqual(scan, { kind: 'complete', text: `${args}\n${last}\n` });
  });

  const failures = [
    ['exit 1', /^failed with exit code 1$/],
    [
      'echo "error: no memory" >&2; echo more >&2; exit 1',
      /^failed with exit code 1: error: no memory$/,
    ],
    [`echo '${last}'; kill -9 $$`, /^was killed by SIGKILL$/],
    ['echo "a 1"', /^printed an incomplete inventory$/],
    [`echo '${last}'; echo more`, /^printed an incomplete inventory$/],
    ['head -c 68000000 /dev/zero', /^printed more than 64 MB$/],
  ] as const;
  for (const [script, reason] of failures) {
    it(`fails on: ${script}`, async (context) => {
      const scan = await scanWith(context, script);
      assert.equal(scan.kind, 'failed');
      assert.match(scan.kind === 'failed' ? scan.reason : '', reason);
    });
  }
});
