import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import { Tree } from '../../src/sys/tree.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { dropIns, kubeadmNode, requestFor, startOf } from './kubeadm-node.ts';
import { snapshot } from './snapshot.ts';

const adopter = join(import.meta.dirname, 'adopt.process.ts');
const kubelet = startOf(`--config-dir=${dropIns}`);
type Snapshot = Awaited<ReturnType<typeof snapshot>>;

/** Two files to change, one of them new, in a folder where a kubelet reads all `*.conf`. */
async function node(context: TestContext): Promise<{ root: string; before: Snapshot }> {
  const { tree } = await kubeadmNode(context, {
    [`${dropIns}/10.conf`]:
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n',
  });
  return { root: tree.root, before: await snapshot(tree.root) };
}

async function copyOf(context: TestContext, root: string): Promise<string> {
  const copy = join(await temporaryDirectory(context), 'node');
  await cp(root, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  return copy;
}

/** The exit code, or null when it was killed. */
async function run(root: string, action: 'adopt' | 'revert', step: number): Promise<number | null> {
  const args = [adopter, root, action, String(step)];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    // About a hundred processes run, which share Node's compile cache.
    env: { ...process.env, NODE_COMPILE_CACHE: join(import.meta.dirname, '../../.cache/compiled') },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}

const together = 2;

/**
 * Kills each process one step later than the previous one, until one completes. Returns the
 * number of killed processes.
 */
async function forEachStep(work: (step: number) => Promise<number | null>): Promise<number> {
  for (let first = 1; ; first += together) {
    const steps = Array.from({ length: together }, (_, index) => first + index);
    const codes = await Promise.all(steps.map(work));
    const survivor = codes.indexOf(0);
    if (survivor !== -1) return first + survivor - 1;
    assert.ok(
      codes.every((code) => code === null),
      `it failed: ${codes.join()}`,
    );
  }
}

/** Each file has its previous or its new content, and the kubelet reads no other file. */
async function requireWhole(root: string, before: Snapshot, after: Snapshot): Promise<void> {
  for (const [path, found] of await snapshot(root)) {
    if (/\/\.nodecertd-[^/]*$/.test(path)) continue;
    assert.ok(found === before.get(path) || found === after.get(path), path);
  }
  const read = (await readdir(join(root, dropIns))).filter((name) => name.endsWith('.conf'));
  assert.deepEqual(
    read.filter((name) => !['10.conf', '90-nodecertd.conf'].includes(name)),
    [],
  );
}

/** After a crash, adopt and revert both reach the state that they reach without one. */
async function requireRecovery(
  context: TestContext,
  root: string,
  { before, after }: { readonly before: Snapshot; readonly after: Snapshot },
): Promise<void> {
  const other = await copyOf(context, root);
  await adopt(requestFor(new Tree(root), { kubelet }));
  assert.deepEqual(await snapshot(root), after);

  await revert(requestFor(new Tree(other), { kubelet }), { force: false });
  assert.deepEqual(await snapshot(other), before);
  const kept = await readdir(join(other, 'var/lib/nodecertd/adopt')).catch(() => []);
  assert.deepEqual(
    kept.filter((name) => name !== '.nodecertd.lock'),
    [],
  );
}

test('adopt() syncs copies and manifest before the first change', async (t) => {
  const { root } = await node(t);
  const child = spawn(process.execPath, [adopter, root, 'adopt', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = (await child.stdout.toArray()) as Buffer[];
  const calls = Buffer.concat(output).toString().trim().split('\n');
  // The manifest, two files and the manifest again, each synced before and after its rename.
  const renames = calls.flatMap((call, index) => (call === 'rename' ? [index] : []));
  assert.equal(renames.length, 4);
  for (const at of renames) {
    assert.deepEqual(
      calls.slice(at - 1, at + 2).filter((call) => call === 'sync').length >= 1,
      true,
    );
    assert.equal(calls[at + 1], 'sync');
  }
});

test('adopt() and revert() recover from adopt killed at any step', async (t) => {
  const { root, before } = await node(t);
  const adopted = await copyOf(t, root);
  await adopt(requestFor(new Tree(adopted), { kubelet }));
  const after = await snapshot(adopted);
  const steps = await forEachStep(async (step) => {
    const victim = await copyOf(t, root);
    const code = await run(victim, 'adopt', step);
    await requireWhole(victim, before, after);
    await requireRecovery(t, victim, { before, after });
    return code;
  });
  t.diagnostic(`${steps} steps`);
  assert.ok(steps > 40, `only ${steps} steps were found to stop at`);
});

test('adopt() and revert() recover from revert killed at any step', async (t) => {
  const { root, before } = await node(t);
  await adopt(requestFor(new Tree(root), { kubelet }));
  const after = await snapshot(root);
  const steps = await forEachStep(async (step) => {
    const victim = await copyOf(t, root);
    const code = await run(victim, 'revert', step);
    await requireWhole(victim, before, after);
    await requireRecovery(t, victim, { before, after });
    return code;
  });
  t.diagnostic(`${steps} steps`);
  assert.ok(steps > 20, `only ${steps} steps were found to stop at`);
});
