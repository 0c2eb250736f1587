import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { minute } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makePair, present, requireWholePair, secretOf, temporaryDirectory } from './pairs.ts';
import { name, storeIn } from './store-bench.ts';

const writer = join(import.meta.dirname, 'store.process.ts');
/** The clock of the inspection after a crash is a minute behind, which must not matter. */
const behind = { clock: new FakeClock(present - minute) };

interface Start {
  readonly step?: number;
  readonly later?: number;
  /** Serial of the key pair to roll back, instead of storing one. */
  readonly rollBack?: string;
}

function start(directory: string, options: Start = {}): ChildProcess {
  const { rollBack } = options;
  return spawn(process.execPath, [writer, directory, String(options.step ?? '')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      SECONDS_LATER: String(options.later ?? 0),
      ...(rollBack !== undefined && { ROLL_BACK: rollBack }),
    },
  });
}

/** Asserts that readers find a key pair after a crash, before and after the cleanup. */
async function requireRecovery(directory: string): Promise<void> {
  const link = join(directory, `${name}-current.pem`);
  requireWholePair(await readFile(link));
  const { pair, findings } = await storeIn(directory, behind).inspect();
  assert.ok(pair !== undefined);
  // A kill between the new link and the removal of an old key pair leaves the old one, too.
  assert.deepEqual(
    findings.filter(({ kind }) => !['stray-removed', 'pair-pruned'].includes(kind)),
    [],
  );
  requireWholePair(await readFile(link));
  assert.deepEqual(
    (await readdir(directory)).filter((file) => file.startsWith('.')),
    [],
  );
}

test('write() syncs the file before the link, and the link before it returns', async (t) => {
  const directory = await temporaryDirectory(t);
  const child = start(directory, { step: 0 });
  const output = child.stdout === null ? [] : await child.stdout.toArray();
  const calls = Buffer.concat(output as Buffer[])
    .toString()
    .trim()
    .split('\n');
  assert.deepEqual(
    calls.filter((call) => ['writeFile', 'sync', 'symlink', 'rename'].includes(call)),
    ['writeFile', 'sync', 'rename', 'sync', 'symlink', 'rename', 'sync'],
  );
});

/**
 * Kills a writer at each step, a few at a time, until one finishes. Returns how many were
 * killed.
 */
async function forEachStep(run: (step: number) => Promise<number | null>): Promise<number> {
  for (let first = 1; ; first += together) {
    const steps = Array.from({ length: together }, (_, index) => first + index);
    const codes = await Promise.all(steps.map(run));
    const survivor = codes.indexOf(0);
    if (survivor !== -1) return first + survivor - 1;
    assert.ok(
      codes.every((code) => code === null),
      `a writer failed: ${codes.join()}`,
    );
  }
}

const together = 4;

test('write() leaves a whole key pair when killed at any step', async (t) => {
  const steps = await forEachStep(async (step) => {
    const directory = await temporaryDirectory(t);
    await storeIn(directory, behind).write(secretOf(await makePair()));
    const [code] = (await once(start(directory, { step }), 'exit')) as [number | null];
    await requireRecovery(directory);
    return code;
  });
  t.diagnostic(`${steps} steps`);
  assert.ok(steps > 20, `only ${steps} steps were found to stop at`);
});

test('rollBack() leaves a whole key pair when killed at any step', async (t) => {
  const steps = await forEachStep(async (step) => {
    const directory = await temporaryDirectory(t);
    const [first, second] = [await makePair(), await makePair()];
    for (const pair of [first, second]) await storeIn(directory, behind).write(secretOf(pair));
    const child = start(directory, { step, rollBack: second.serial });
    const [code] = (await once(child, 'exit')) as [number | null];
    await requireRecovery(directory);
    return code;
  });
  t.diagnostic(`${steps} steps`);
  assert.ok(steps >= 10, `only ${steps} steps were found to stop at`);
});

test('write() leaves a whole first key pair or none when killed at any step', async (t) => {
  await forEachStep(async (step) => {
    const directory = await temporaryDirectory(t);
    const [code] = (await once(start(directory, { step }), 'exit')) as [number | null];
    const { pair } = await storeIn(directory, behind).inspect();
    const files = await readdir(directory);
    assert.equal(pair !== undefined, files.includes(`${name}-current.pem`));
    // An interrupted file never has the name of a key pair, and is removed.
    for (const file of files) requireWholePair(await readFile(join(directory, file)));
    if (pair !== undefined) await requireRecovery(directory);
    return code;
  });
});

test('write() leaves a whole key pair when killed 30 times at random', async (t) => {
  const killTenTimes = async (): Promise<void> => {
    const directory = await temporaryDirectory(t);
    await storeIn(directory, behind).write(secretOf(await makePair()));
    for (let kill = 0; kill < 10; kill += 1) {
      const child = start(directory, { later: kill });
      if (child.stdout !== null) await once(child.stdout, 'data');
      await delay(Math.random() * 25);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      await requireRecovery(directory);
    }
  };
  await Promise.all([killTenTimes(), killTenTimes(), killTenTimes()]);
});
