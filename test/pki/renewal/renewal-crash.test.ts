import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import {
  directoryOf,
  itemsOf,
  previewRenewal,
  rollBackTo,
} from '../../../src/pki/renewal/renewal.ts';
import { runRenewal } from '../../../src/pki/renewal/renewal-run.ts';
import { FsFaults } from '../../adopt/fs-faults.ts';
import { filesOf, renewBoth, requireRecovery, requireServer } from './renewal-checks.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { copyOf, optionsFor, requestFor, sharedTree } from './renewal-tree.ts';

const renewer = join(import.meta.dirname, 'renewal.process.ts');
const faults = await FsFaults.install();

const model = sharedTree();

/** The exit code, or null when it was killed. */
async function crash(
  tree: KubeadmTree,
  action: 'renew' | 'rollback',
  step: number,
): Promise<number | null> {
  const child = spawn(process.execPath, [renewer, tree.kubernetes, action, String(step)], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: join(import.meta.dirname, '../../../.cache/compiled'),
    },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}

/** `make fault ARGS=renewal` stops at every system call; here, every fourth step keeps `make test` short. */
const stride = 4;
const together = 2;

/**
 * Kills each process a few steps later than the previous one, until one completes. Returns the
 * number of steps before it.
 */
async function forEachStep(work: (step: number) => Promise<number | null>): Promise<number> {
  for (let first = 1; ; first += together * stride) {
    const steps = Array.from({ length: together }, (_, index) => first + index * stride);
    const codes = await Promise.all(steps.map(work));
    const survivor = codes.indexOf(0);
    if (survivor !== -1) return first + survivor * stride - 1;
    assert.ok(
      codes.every((code) => code === null),
      `it failed: ${codes.join()}`,
    );
  }
}

test('renew() and rollBackTo() recover from renew() killed at a step', async (context) => {
  const steps = await forEachStep(async (step) => {
    const tree = await copyOf(context, model);
    const previous = await filesOf(tree);
    const code = await crash(tree, 'renew', step);
    await requireRecovery(tree, previous);
    return code;
  });
  context.diagnostic(`${steps} steps`);
  assert.ok(steps > 40, `only ${steps} steps were found to stop at`);
});

test('renew() and rollBackTo() recover from rollBackTo() killed at a step', async (context) => {
  const steps = await forEachStep(async (step) => {
    const tree = await copyOf(context, model);
    const previous = await filesOf(tree);
    await renewBoth(tree);
    const code = await crash(tree, 'rollback', step);
    await requireRecovery(tree, previous);
    return code;
  });
  context.diagnostic(`${steps} steps`);
  assert.ok(steps > 15, `only ${steps} steps were found to stop at`);
});

const failures = [
  { code: 'EIO', lasting: false },
  { code: 'ENOSPC', lasting: true },
] as const;

for (const { code, lasting } of failures) {
  const what = lasting ? 'at every call from one on' : 'at one call';
  test(`renew() with ${code} ${what} leaves files that match after the next run`, async (context) => {
    let failed = 0;
    for (let at = 1, isHit = true; isHit; at += stride) {
      const tree = await copyOf(context, model);
      const previous = await filesOf(tree);
      let error: unknown;
      isHit = await faults.during({ at, code, lasting }, async () => {
        await renewBoth(tree).catch((thrown: unknown) => {
          error = thrown;
        });
      });
      if (error !== undefined) {
        failed += 1;
        assert.ok(error instanceof AgentError);
        assert.match(error.code, /^STORE_/);
        // The failed certificate has its previous files again.
        if (!lasting) await requireServer(tree);
      }
      await requireRecovery(tree, previous);
    }
    context.diagnostic(`${failed} runs failed`);
    assert.ok(failed > 20 / stride, `only ${failed} runs failed`);
  });
}

test('runRenewal() keeps the copies when it cannot restore the files', async (context) => {
  const tree = await copyOf(context, model);
  const previous = await filesOf(tree);
  const request = requestFor(tree);
  const preview = await previewRenewal(request, optionsFor({ selection: ['apiserver'] }));
  let copied = 0;
  const { renewed, failed } = await runRenewal(itemsOf(preview), {
    ...request,
    directory: directoryOf(request),
    plan: {},
    served: undefined,
    restart: async () => {
      throw new AgentError('COMPONENT_RESTART', 'it did not start');
    },
    // The first two calls are for the new files, the next one is for the previous files.
    copyAttributes: async () => {
      copied += 1;
      if (copied > 2) throw new AgentError('STORE_IO', 'the disk is gone');
    },
  });
  assert.deepEqual(renewed, []);
  assert.match(
    failed?.failure.message ?? '',
    /it did not start; then a changed file could not be restored: the disk is gone/,
  );
  await rollBackTo(request, { time: undefined, force: false });
  assert.deepEqual(await filesOf(tree), previous);
});

test('rollBackTo() restores a file that was deleted after the renewal', async (context) => {
  const tree = await copyOf(context, model);
  const previous = await filesOf(tree);
  await renewBoth(tree);
  await rm(join(tree.certificates, 'apiserver.key'));
  await rm(join(tree.kubernetes, 'admin.conf'));
  await rollBackTo(requestFor(tree), { time: undefined, force: false });
  assert.deepEqual(await filesOf(tree), previous);
});
