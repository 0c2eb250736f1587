import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, chown, cp, readdir, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { previewRenewal, renew, rollBackTo } from '../../../src/pki/renewal/renewal.ts';
import type { RenewalResult } from '../../../src/pki/renewal/renewal-run.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import { tmpfsDirectory } from '../../store/mounts.ts';
import { findProgram, skipWithout } from '../../support/programs.ts';
import { requireServer } from './renewal-checks.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { copyOf, optionsFor, requestFor, sharedTree } from './renewal-tree.ts';

/** Files with unusual attributes, and file systems that refuse a change. */

const model = sharedTree();

async function renewServer(tree: KubeadmTree): Promise<RenewalResult> {
  const options = optionsFor({ selection: ['apiserver'] });
  const { result } = await renew(requestFor(tree), {
    ...options,
    describe: () => ({}),
    endpoints: [],
  });
  return result;
}

const filesOf = (tree: KubeadmTree): ReturnType<typeof snapshot> =>
  snapshot(tree.kubernetes, '/.nodecertd');

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(findProgram(program) ?? program, args, { encoding: 'utf8', stdio: 'pipe' });
}

async function runFolders(tree: KubeadmTree): Promise<string[]> {
  return (await readdir(join(tree.kubernetes, '.nodecertd'))).filter((name) => /^\d/.test(name));
}

describe('renew()', () => {
  it('creates the key of a certificate without one, which a rollback removes', async (context) => {
    const tree = await copyOf(context, model);
    const key = join(tree.certificates, 'apiserver.key');
    await rm(key);
    const previous = await filesOf(tree);
    assert.equal((await renewServer(tree)).failed, undefined);
    assert.equal((await stat(key)).mode & 0o7777, 0o600);
    await requireServer(tree);
    await rollBackTo(requestFor(tree), { time: undefined, force: false });
    assert.deepEqual(await filesOf(tree), previous);
  });

  it('refuses a certificate whose files are those of another one', async (context) => {
    const tree = await copyOf(context, model);
    for (const kind of ['crt', 'key']) {
      await rm(join(tree.certificates, `etcd/peer.${kind}`));
      await symlink(`server.${kind}`, join(tree.certificates, `etcd/peer.${kind}`));
    }
    const options = optionsFor({ selection: ['etcd-server', 'etcd-peer', 'apiserver'] });
    const { certificates } = await previewRenewal(requestFor(tree), options);
    assert.deepEqual(
      certificates.map(({ kind }) => kind),
      ['renew', 'refused', 'renew'],
    );
    const [, refused] = certificates;
    assert.ok(refused?.kind === 'refused');
    assert.match(refused.failure.message, /server\.crt belongs to etcd-server and to etcd-peer$/);
  });

  it('keeps the mode 0640 and the group of a key', async (context) => {
    const tree = await copyOf(context, model);
    const key = join(tree.certificates, 'apiserver.key');
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) await chown(key, 0, 12345);
    await chmod(key, 0o640);
    const { gid } = await stat(key);
    assert.equal((await renewServer(tree)).failed, undefined);
    const now = await stat(key);
    assert.deepEqual([now.mode & 0o7777, now.gid], [0o640, gid]);
    if (isRoot) assert.equal(gid, 12345);
  });

  it(
    'keeps the access control list and the extended attributes of a key',
    { skip: skipWithout('setfacl', 'getfacl', 'setfattr', 'getfattr') },
    async (context) => {
      const tree = await copyOf(context, model);
      const key = join(tree.certificates, 'apiserver.key');
      run('setfacl', '-m', 'u:65534:r', key);
      run('setfattr', '-n', 'user.origin', '-v', 'x', key);
      assert.equal((await renewServer(tree)).failed, undefined);
      assert.match(run('getfacl', '-n', key), /^user:65534:r--$/m);
      assert.match(run('getfattr', '-d', key), /user\.origin="x"/);
    },
  );

  it('changes nothing if the certificate is immutable', async (context) => {
    const tree = await copyOf(context, model);
    const certificate = join(tree.certificates, 'apiserver.crt');
    const set = spawnSync('chattr', ['+i', certificate], { encoding: 'utf8' });
    if (set.status !== 0) return context.skip(`needs chattr +i: ${set.stderr}`);
    context.after(() => spawnSync('chattr', ['-i', certificate]));
    const before = await filesOf(tree);
    const { failed, renewed } = await renewServer(tree);
    spawnSync('chattr', ['-i', certificate]);
    assert.equal(failed?.failure.code, 'STORE_PERMISSIONS');
    assert.match(
      failed.failure.message,
      /^cannot replace .*apiserver\.crt; the previous files of apiserver are in place: EPERM/,
    );
    assert.deepEqual(renewed, []);
    assert.deepEqual(await filesOf(tree), before);
    assert.deepEqual(await runFolders(tree), []);
    return undefined;
  });

  it('changes nothing on a read-only file system', async (context) => {
    const disk = await tmpfsDirectory(context, 'size=4m');
    if (disk === undefined) return;
    const tree = await onDisk(disk);
    const before = await filesOf(tree);
    run('mount', '-o', 'remount,ro', disk);
    await assert.rejects(renewServer(tree), { code: 'STORE_PERMISSIONS' });
    assert.deepEqual(await filesOf(tree), before);
  });

  it('changes nothing on a full disk', async (context) => {
    const disk = await tmpfsDirectory(context, 'size=1m');
    if (disk === undefined) return;
    const tree = await onDisk(disk);
    const before = await filesOf(tree);
    let refused = 0;
    for (let free = 0; ; free += 1) {
      const { bavail, bsize } = await statfs(disk);
      await writeFile(join(disk, 'filler'), Buffer.alloc(bavail * bsize - free * 4096));
      const failure = await failureOf(tree);
      await rm(join(disk, 'filler'));
      if (failure === undefined) break;
      assert.equal(failure, 'STORE_FULL');
      assert.deepEqual(await filesOf(tree), before, `${free} pages free`);
      const left = await readdir(join(tree.kubernetes, '.nodecertd')).catch(() => []);
      assert.deepEqual(
        left.filter((name) => name !== '.nodecertd.lock'),
        [],
        `${free} pages free`,
      );
      refused += 1;
    }
    context.diagnostic(`refused with up to ${refused} pages free`);
    assert.ok(refused > 5, `refused ${refused} times only`);
    assert.notDeepEqual(await filesOf(tree), before);
  });
});

async function onDisk(disk: string): Promise<KubeadmTree> {
  const kubernetes = join(disk, 'kubernetes');
  await cp(model.kubernetes, kubernetes, { recursive: true });
  return { ...model, kubernetes, certificates: join(kubernetes, 'pki') };
}

/** The code of the error that the renewal throws or reports. */
async function failureOf(tree: KubeadmTree): Promise<string | undefined> {
  try {
    return (await renewServer(tree)).failed?.failure.code;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  }
}
