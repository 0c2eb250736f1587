import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { chmod, chown, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { adopt, previewAdoption, previewRevert, revert } from '../../src/adopt/adoption.ts';
import type { Manifest } from '../../src/store/run-manifest.ts';
import type { Tree } from '../../src/sys/tree.ts';
import { day, minute } from '../../src/core/instant.ts';
import { lockDirectory } from '../../src/store/directory-lock.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makePair, present } from '../store/pairs.ts';
import {
  configFile,
  embedding,
  dropIns,
  following,
  adoptedConfig,
  kubeadmNode,
  kubeconfigFile,
  kubeletClient,
  kubeletConfig,
  nodeConfig,
  requestFor,
  startOf,
} from './kubeadm-node.ts';
import { diffsOf, idsOf } from './plan-text.ts';
import { snapshot } from './snapshot.ts';

const yes = { force: true };
const no = { force: false };

async function runFolders(tree: Tree): Promise<string[]> {
  const names = await readdir(join(tree.root, 'var/lib/nodecertd/adopt')).catch(() => []);
  return names.filter((name) => !name.startsWith('.'));
}

async function manifestOf(tree: Tree, run: string): Promise<Manifest> {
  const path = join(tree.root, 'var/lib/nodecertd/adopt', run, 'manifest.json');
  return JSON.parse(await readFile(path, 'utf8')) as Manifest;
}

describe('adopt()', () => {
  it('makes the changes, with a copy and a manifest', async (context) => {
    const { tree } = await kubeadmNode(context);
    const at = (path: string): string => join(tree.root, path);
    await chmod(at(kubeconfigFile), 0o640);
    await chmod(at(configFile), 0o604);
    if (process.geteuid?.() === 0) await chown(at(configFile), 1234, 4321);
    const before = await readFile(at(kubeconfigFile));
    const { plan } = await adopt(requestFor(tree));
    assert.deepEqual(plan.obstacles, []);
    assert.equal(await readFile(at(kubeconfigFile), 'utf8'), following);
    assert.equal((await stat(at(kubeconfigFile))).mode & 0o7777, 0o600);
    const config = await stat(at(configFile));
    assert.equal(config.mode & 0o7777, 0o604);
    if (process.geteuid?.() === 0) assert.deepEqual([config.uid, config.gid], [1234, 4321]);

    assert.deepEqual(await runFolders(tree), ['20260601T120000Z-1']);
    const folder = at('var/lib/nodecertd/adopt/20260601T120000Z-1');
    assert.equal((await stat(folder)).mode & 0o7777, 0o700);
    assert.deepEqual(await readFile(join(folder, 'files', kubeconfigFile)), before);
    assert.equal((await stat(join(folder, 'files', kubeconfigFile))).mode & 0o7777, 0o640);
    const { state, changes } = await manifestOf(tree, '20260601T120000Z-1');
    assert.equal(state, 'applied');
    assert.deepEqual(
      changes.map(({ path, existed, before, after, backup }) => [
        path,
        existed,
        before?.mode,
        after?.mode,
        backup,
      ]),
      [
        [kubeconfigFile, true, '0640', '0600', `files${kubeconfigFile}`],
        [configFile, true, '0604', '0604', `files${configFile}`],
      ],
    );
  });

  it('changes nothing the second time, and creates no file', async (context) => {
    const { tree } = await kubeadmNode(context);
    await adopt(requestFor(tree));
    const once = await snapshot(tree.root, '/none');
    assert.deepEqual(idsOf(await previewAdoption(requestFor(tree))), []);
    assert.deepEqual(idsOf((await adopt(requestFor(tree))).plan), []);
    assert.deepEqual(await snapshot(tree.root, '/none'), once);
  });

  it('changes nothing when it refuses, and previews change nothing', async (context) => {
    const { tree } = await kubeadmNode(context, { [configFile]: 'a: [' });
    const before = await snapshot(tree.root, '/none');
    assert.notDeepEqual((await adopt(requestFor(tree))).plan.obstacles, []);
    await previewAdoption(requestFor(tree));
    await previewRevert(requestFor(tree));
    await revert(requestFor(tree), no);
    assert.deepEqual(await snapshot(tree.root, '/none'), before);
  });

  it('writes the target of a link', async (context) => {
    const { tree } = await kubeadmNode(context, {
      '/srv/kubelet.conf': embedding(await makePair()),
      [kubeconfigFile]: { link: '/srv/kubelet.conf' },
    });
    const before = await snapshot(tree.root);
    await adopt(requestFor(tree));
    assert.equal(await readFile(join(tree.root, 'srv/kubelet.conf'), 'utf8'), following);
    assert.equal((await snapshot(tree.root)).get(kubeconfigFile), before.get(kubeconfigFile));
    await revert(requestFor(tree), no);
    assert.deepEqual(await snapshot(tree.root), before);
  });

  it('refuses to run beside another adopt', async (context) => {
    const { tree } = await kubeadmNode(context);
    const directory = join(tree.root, 'var/lib/nodecertd/adopt');
    await using lock = await lockDirectory(directory);
    assert.ok(lock.locked);
    await assert.rejects(adopt(requestFor(tree)), {
      code: 'STORE_LOCKED',
      message: 'another nodecertd adopt is running',
    });
  });

  it('restores all files when another program changes them', async (context) => {
    const { tree } = await kubeadmNode(context);
    const before = await snapshot(tree.root);
    const path = join(tree.root, configFile);
    // A program that restores the old configuration each time the file changes.
    class Disturbed extends FakeClock {
      override now(): number {
        if (readFileSync(path, 'utf8') !== kubeletConfig) writeFileSync(path, kubeletConfig);
        return super.now();
      }
    }
    const clock = new Disturbed(present);
    const failed = assert.rejects(adopt(requestFor(tree, { clock })), {
      code: 'FILE_CHANGED',
      message:
        /config\.yaml differs from the content that nodecertd wrote; all changes were undone$/,
    });
    // adopt() retries for two seconds of the fake clock, with real reads in between.
    const work = { over: false };
    void failed.finally(() => {
      work.over = true;
    });
    while (!work.over) {
      await clock.advance(100);
      await setImmediate();
    }
    await failed;
    assert.deepEqual(await snapshot(tree.root), before);
    assert.deepEqual(await runFolders(tree), []);
  });
});

describe('revert()', () => {
  it('restores every byte, owner and mode, and removes its own files', async (context) => {
    const kubelet = startOf(`--config-dir=${dropIns}`);
    const { tree } = await kubeadmNode(context, {
      [`${dropIns}/10.conf`]:
        'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n',
    });
    await chmod(join(tree.root, kubeconfigFile), 0o640);
    if (process.geteuid?.() === 0) await chown(join(tree.root, kubeconfigFile), 1234, 4321);
    const before = await snapshot(tree.root);
    await adopt(requestFor(tree, { kubelet }));
    assert.ok((await snapshot(tree.root)).has(`${dropIns}/90-nodecertd.conf`));
    const preview = await previewRevert(requestFor(tree, { kubelet }));
    assert.deepEqual(idsOf(preview), ['step removed', 'step restored']);
    assert.match(diffsOf(preview), /^\+ {4}client-key-data: <\d+ bytes, not shown>$/m);
    await revert(requestFor(tree, { kubelet }), no);
    assert.deepEqual(await snapshot(tree.root), before);
    assert.deepEqual(await runFolders(tree), []);
    assert.deepEqual(idsOf((await revert(requestFor(tree, { kubelet }), no)).plan), []);
  });

  it('refuses a file that was changed later, unless forced', async (context) => {
    const { tree } = await kubeadmNode(context);
    const before = await snapshot(tree.root);
    await adopt(requestFor(tree));
    const path = join(tree.root, configFile);
    await writeFile(path, `${await readFile(path, 'utf8')}# mine\n`);
    const changed = await snapshot(tree.root);
    const { plan } = await revert(requestFor(tree), no);
    assert.deepEqual(
      plan.obstacles.map(({ id }) => id),
      ['changed-since'],
    );
    assert.match(diffsOf(plan), /^-# mine$/m);
    assert.deepEqual(await snapshot(tree.root), changed);
    await revert(requestFor(tree), yes);
    assert.deepEqual(await snapshot(tree.root), before);
  });

  it('restores a file that was deleted', async (context) => {
    const { tree } = await kubeadmNode(context);
    const before = await snapshot(tree.root);
    await adopt(requestFor(tree));
    await rm(join(tree.root, configFile));
    await revert(requestFor(tree), no);
    assert.deepEqual(await snapshot(tree.root), before);
  });

  it('reverts two adoptions with another change in between', async (context) => {
    const { tree } = await kubeadmNode(context);
    const before = await snapshot(tree.root);
    const clock = new FakeClock(present);
    await adopt(requestFor(tree, { clock }));
    // One of our keys is removed.
    const path = join(tree.root, configFile);
    const adopted = await readFile(path, 'utf8');
    await writeFile(path, adopted.replace(/^tlsCertFile: .*\n/m, ''));
    clock.jump(-day);
    await adopt(requestFor(tree, { clock }));
    assert.equal((await runFolders(tree)).length, 2);
    // The file was changed between the two runs, so the second copy counts.
    const { plan } = await revert(requestFor(tree, { clock }), no);
    assert.deepEqual(plan.obstacles, []);
    const after = await snapshot(tree.root);
    assert.equal(after.get(kubeconfigFile), before.get(kubeconfigFile));
    assert.match(after.get(configFile) ?? '', /tlsPrivateKeyFile/);
    assert.deepEqual(await runFolders(tree), []);
  });

  it('reverts two adoptions to the state before the first', async (context) => {
    const { tree } = await kubeadmNode(context);
    const before = await snapshot(tree.root);
    await adopt({ ...requestFor(tree), config: { ...nodeConfig, certificates: [kubeletClient] } });
    const { plan } = await adopt(requestFor(tree));
    assert.deepEqual(
      plan.steps.map(({ file }) => file),
      [configFile],
    );
    assert.deepEqual(await runFolders(tree), ['20260601T120000Z-1', '20260601T120000Z-2']);
    await revert(requestFor(tree), no);
    assert.deepEqual(await snapshot(tree.root), before);
  });

  it('refuses a kubeconfig whose certificate has expired or is missing', async (context) => {
    const old = await makePair({ notAfter: present + minute });
    const named = '/var/lib/kubelet/pki/old.pem';
    const kubeconfigs = [
      [embedding(old), /its certificate expired at 2026-06-01T12:01:00Z/],
      [following.replace(/: \/.*client-current\.pem/g, `: ${named}`), /its certificate expired/],
      [
        following.replace(/: \/.*client-current\.pem/g, ': /none.pem'),
        /cannot be used: .*none\.pem/,
      ],
    ] as const;
    for (const [text, reason] of kubeconfigs) {
      const { tree } = await kubeadmNode(context, {
        [kubeconfigFile]: text,
        [named]: old.pem.toString(),
      });
      const before = await snapshot(tree.root);
      const clock = new FakeClock(present);
      await adopt(requestFor(tree, { clock }));
      clock.jump(2 * minute);
      const { plan } = await revert(requestFor(tree, { clock }), no);
      assert.deepEqual(
        plan.obstacles.map(({ id }) => id),
        ['restored-credential'],
      );
      assert.match(plan.obstacles[0]?.what ?? '', reason);
      await revert(requestFor(tree, { clock }), yes);
      assert.deepEqual(await snapshot(tree.root), before);
    }
  });

  it('checks all copies before it changes a file', async (context) => {
    const { tree } = await kubeadmNode(context);
    await adopt(requestFor(tree));
    const adopted = await snapshot(tree.root);
    const copy = join(tree.root, 'var/lib/nodecertd/adopt/20260601T120000Z-1/files', configFile);
    await writeFile(copy, 'other\n');
    await assert.rejects(revert(requestFor(tree), yes), {
      code: 'FILE_CHANGED',
      message:
        /files\/var\/lib\/kubelet\/config\.yaml, the copy of \/var\/lib\/kubelet\/config\.yaml, was changed/,
    });
    assert.deepEqual(await snapshot(tree.root), adopted);
  });

  it('names the manifest that it cannot read', async (context) => {
    const { tree } = await kubeadmNode(context, { [configFile]: adoptedConfig });
    await adopt(requestFor(tree));
    const path = join(tree.root, 'var/lib/nodecertd/adopt/20260601T120000Z-1/manifest.json');
    await writeFile(path, '{"kind": "AdoptionManifest"}');
    await assert.rejects(previewRevert(requestFor(tree)), {
      code: 'CONFIG_INVALID',
      message: /manifest\.json is not a manifest of nodecertd/,
    });
  });
});
