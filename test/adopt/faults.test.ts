import assert from 'node:assert/strict';
import { cp, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import { Tree } from '../../src/sys/tree.ts';
import { AgentError } from '../../src/core/errors.ts';
import { tmpfsDirectory } from '../store/mounts.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FsFaults } from './fs-faults.ts';
import { kubeadmNode, requestFor } from './kubeadm-node.ts';
import { snapshot } from './snapshot.ts';

const faults = await FsFaults.install();
const no = { force: false };
type Snapshot = Awaited<ReturnType<typeof snapshot>>;

async function copyTo(target: string, root: string): Promise<string> {
  await cp(root, target, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  return target;
}

interface Stages {
  readonly root: string;
  readonly before: Snapshot;
  readonly adopted: string;
  readonly after: Snapshot;
}

async function stages(context: TestContext): Promise<Stages> {
  const { tree } = await kubeadmNode(context);
  const adopted = await copyTo(join(await temporaryDirectory(context), 'adopted'), tree.root);
  await adopt(requestFor(new Tree(adopted)));
  return {
    root: tree.root,
    before: await snapshot(tree.root),
    adopted,
    after: await snapshot(adopted),
  };
}

async function runFolders(root: string): Promise<string[]> {
  const names = await readdir(join(root, 'var/lib/nodecertd/adopt')).catch(() => []);
  return names.filter((name) => !name.startsWith('.'));
}

/** Runs the work and returns its AgentError, if it throws one. */
async function failing(work: () => Promise<unknown>): Promise<AgentError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    assert.ok((error.remedy ?? '').length > 10, error.message);
    return error;
  }
}

const codes = [
  ['ENOSPC', 'STORE_FULL'],
  ['EACCES', 'STORE_PERMISSIONS'],
  ['EIO', 'STORE_IO'],
] as const;

/** Tests the first error code at each call, and the others at every second call. */
const stride = 2;

for (const [code, expected] of codes) {
  test(`adopt() changes nothing when any one call fails with ${code}`, async (t) => {
    const { root, before, after } = await stages(t);
    const folder = await temporaryDirectory(t);
    let failures = 0;
    for (let at = 1; ; at += code === 'ENOSPC' ? 1 : stride) {
      const victim = await copyTo(join(folder, String(at)), root);
      let error: AgentError | undefined;
      const came = await faults.during({ at, code, lasting: false }, async () => {
        error = await failing(() => adopt(requestFor(new Tree(victim))));
      });
      const found = await snapshot(victim);
      if (error === undefined) assert.deepEqual(found, after);
      else {
        failures += 1;
        assert.equal(error.code, expected);
        assert.deepEqual(found, before, `step ${at}`);
        assert.deepEqual(await runFolders(victim), []);
      }
      if (!came) break;
    }
    t.diagnostic(`${failures} calls failed`);
    assert.ok(failures > 20, `only ${failures} calls failed`);
  });
}

test('adopt() and revert() recover from a disk that fails during adopt', async (t) => {
  const { root, before, after } = await stages(t);
  const folder = await temporaryDirectory(t);
  let halves = 0;
  for (let at = 1; ; at += stride) {
    const victim = await copyTo(join(folder, String(at)), root);
    const came = await faults.during({ at, code: 'EROFS', lasting: true }, async () => {
      await failing(() => adopt(requestFor(new Tree(victim))));
    });
    const found = await snapshot(victim);
    if (![before, after].some((whole) => isSame(found, whole))) halves += 1;
    const other = await copyTo(join(folder, `${at}-other`), victim);
    await adopt(requestFor(new Tree(victim)));
    assert.deepEqual(await snapshot(victim), after, `adopt after step ${at}`);
    await revert(requestFor(new Tree(other)), no);
    assert.deepEqual(await snapshot(other), before, `revert after step ${at}`);
    if (!came) break;
  }
  t.diagnostic(`${halves} were left half done`);
  assert.ok(halves > 3, `only ${halves} were left half done`);
});

test('adopt() and revert() recover from a disk that fails during revert', async (t) => {
  const { adopted, before, after } = await stages(t);
  const folder = await temporaryDirectory(t);
  for (let at = 1; ; at += stride) {
    const victim = await copyTo(join(folder, String(at)), adopted);
    const came = await faults.during({ at, code: 'EROFS', lasting: true }, async () => {
      await failing(() => revert(requestFor(new Tree(victim)), no));
    });
    const other = await copyTo(join(folder, `${at}-other`), victim);
    await adopt(requestFor(new Tree(victim)));
    assert.deepEqual(await snapshot(victim), after, `adopt after step ${at}`);
    await revert(requestFor(new Tree(other)), no);
    assert.deepEqual(await snapshot(other), before, `revert after step ${at}`);
    if (!came) break;
  }
});

function isSame(left: Snapshot, right: Snapshot): boolean {
  return JSON.stringify([...left]) === JSON.stringify([...right]);
}

test('adopt() changes nothing on a full disk', async (t) => {
  const disk = await tmpfsDirectory(t, 'size=1m');
  if (disk === undefined) return;
  const { root, before, after } = await stages(t);
  const page = 4_096;
  let refused = 0;
  for (let free = 0; ; free += 1) {
    const victim = await copyTo(join(disk, 'node'), root);
    const { bavail, bsize } = await statfs(disk);
    await writeFile(join(disk, 'filler'), Buffer.alloc(bavail * bsize - free * page, 'x'));
    const error = await failing(() => adopt(requestFor(new Tree(victim))));
    const found = await snapshot(victim);
    await rm(join(disk, 'filler'));
    if (error === undefined) {
      assert.deepEqual(found, after);
      break;
    }
    assert.equal(error.code, 'STORE_FULL');
    assert.deepEqual(found, before, `${free} pages free`);
    refused += 1;
    await rm(victim, { recursive: true });
  }
  t.diagnostic(`refused with up to ${refused} pages free`);
  assert.ok(refused > 2, `refused ${refused} times only`);
});
