import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../store/pairs.ts';

const run = promisify(execFile);

/** The flags of Node and the settings of malloc with which the launcher starts a command. */
async function startOf(context: TestContext, ...args: readonly string[]): Promise<string> {
  const directory = await temporaryDirectory(context);
  const launcher = join(directory, 'nodecertd');
  await copyFile(join(import.meta.dirname, '../../scripts/nodecertd.sh'), launcher);
  await mkdir(join(directory, 'lib'));
  const node = '#!/bin/sh\necho "$GLIBC_TUNABLES" "$@"\n';
  await writeFile(join(directory, 'lib/node'), node, { mode: 0o755 });
  return (await run('sh', [launcher, ...args])).stdout;
}

describe('nodecertd.sh', () => {
  for (const command of ['certs renew', 'ca-rollover apply', 'ca-rollover status']) {
    it(`starts ${command} with a secure heap for keys`, async (context) => {
      const started = await startOf(context, ...command.split(' '));
      assert.match(started, /--secure-heap=262144 --secure-heap-min=16 .*main\.js/);
    });
  }

  for (const command of ['certs renew', 'ca-rollover apply']) {
    it(`lets malloc overwrite what ${command} frees`, async (context) => {
      const started = await startOf(context, ...command.split(' '));
      assert.match(started, /^glibc\.malloc\.perturb=165:glibc\.malloc\.tcache_count=0 /);
    });
  }
});
