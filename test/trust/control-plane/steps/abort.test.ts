import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { copyFile, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { readLeaf } from '../../../../src/trust/control-plane/leaf.ts';
import { isSwitchedBack, latestStep } from '../../../../src/trust/control-plane/stage.ts';
import { snapshot } from '../../../adopt/snapshot.ts';
import { issueWithOpenssl, leafExtensions } from '../../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../../pki/renewal/renewal-tree.ts';
import { copyOf, kubeconfigOf, sharedTree, writePair } from '../../../pki/renewal/renewal-tree.ts';
import {
  changedFiles,
  contextOf,
  manifestIn,
  plan,
  textIn,
  unreadableFile,
  walk,
  withoutAnnotation,
  write,
  writeManifests,
  writeNextAuthority,
} from '../rollover-tree.ts';

const tree = sharedTree();

interface AbortedNode extends KubeadmTree {
  /** Digests of the files before the step `create`. */
  readonly before: ReadonlyMap<string, string>;
}

/** A node after these steps. */
async function nodeAfter(
  context: TestContext,
  ...steps: Parameters<typeof walk>[1][]
): Promise<AbortedNode> {
  const node = await copyOf(context, tree);
  await writeManifests(node);
  const before = await digestsOf(node);
  await writeNextAuthority(node, node.authorities.ca);
  await walk(node, ...steps);
  return { ...node, before };
}

/** Without the annotation that marks a restart. */
async function digestsOf({ kubernetes }: KubeadmTree): Promise<Map<string, string>> {
  const paths = [...(await snapshot(kubernetes)).keys()];
  const read = paths.map(async (path): Promise<[string, string][]> => {
    const text = await readFile(join(kubernetes, path), 'utf8').catch(() => undefined);
    return text === undefined ? [] : [[path, hash('sha256', withoutAnnotation(text))]];
  });
  return new Map((await Promise.all(read)).flat());
}

const leaves = [
  'apiserver',
  'apiserver-kubelet-client',
  'controller-manager.conf',
  'scheduler.conf',
  'super-admin.conf',
  'admin.conf',
];

async function issuersOn(node: KubeadmTree): Promise<(string | undefined)[]> {
  const { node: found } = await contextOf(node);
  const read = await Promise.all(leaves.map(async (name) => readLeaf(found, name)));
  return [...new Set(read.map((leaf) => leaf?.by))];
}

async function stageOf(node: KubeadmTree): Promise<string> {
  const { node: found } = await contextOf(node);
  const stage = await latestStep(found);
  return isSwitchedBack(found, stage) ? `${stage}, switched back` : stage;
}

function namesOf(files: readonly string[]): string[] {
  return files.map((file) => file.replace(/ \(.*/, ''));
}

/** The signing files are the third of the tasks after `switch`, and admin.conf is the last one. */
const interrupted = [
  [['trust'], 1],
  [['trust'], 4],
  [['trust', 'switch'], 3],
  [['trust', 'switch'], 6],
] as const;

describe('abortTasks()', () => {
  it('removes the files of a new CA that nothing trusts', async (context) => {
    const node = await nodeAfter(context);
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'abort'))), [
      'files of the rollover: ca-bridge.crt',
      'files of the rollover: ca-next.key',
      'files of the rollover: ca-next.crt',
    ]);
    await walk(node, 'abort');
    assert.deepEqual(await digestsOf(node), node.before);
  });

  it('reverses trust: the same contents as before the new CA', async (context) => {
    const node = await nodeAfter(context, 'trust');
    const changed = changedFiles(await plan(node, 'abort'));
    assert.equal(changed[0], 'trusted CAs: ca.crt (the old CA)');
    assert.ok(changed.includes('admin.conf: admin.conf (trust in the old CA)'));
    await walk(node, 'abort');
    assert.deepEqual(await digestsOf(node), node.before);
  });

  it('reverses switch: the old CA issues, and both stay trusted', async (context) => {
    const node = await nodeAfter(context, 'trust');
    const bundle = await textIn(node, 'ca.crt');
    const manager = await readFile(manifestIn(node, 'kube-controller-manager'), 'utf8');
    await walk(node, 'switch');
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'abort'))), [
      'apiserver-kubelet-client: apiserver-kubelet-client.crt',
      'apiserver-kubelet-client: apiserver-kubelet-client.key',
      'apiserver: apiserver.crt',
      'apiserver: apiserver.key',
      'signing files: ca-signing.crt',
      'signing files: ca-signing.key',
      'signing files: ca.key',
      'signing files: ca.crt',
      'kube-controller-manager: controller-manager.conf',
      'kube-scheduler: scheduler.conf',
      'super-admin.conf: super-admin.conf',
      'admin.conf: admin.conf',
    ]);
    await walk(node, 'abort');
    assert.equal(await textIn(node, 'ca.crt'), bundle);
    for (const name of ['ca.key', 'ca-signing.key']) {
      assert.equal(hash('sha256', await textIn(node, name)), node.before.get('/pki/ca.key'));
    }
    assert.equal(await readFile(manifestIn(node, 'kube-controller-manager'), 'utf8'), manager);
    assert.equal((await textIn(node, 'apiserver.crt')).split('BEGIN CERTIFICATE').length, 2);
    assert.deepEqual(await issuersOn(node), ['old']);
    assert.equal(await stageOf(node), 'trust, switched back');
  });

  it('then reverses trust, and leaves only the certificates different', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    await walk(node, 'abort', 'abort');
    const after = await digestsOf(node);
    assert.deepEqual([...after.keys()], [...node.before.keys()]);
    const different = [...after].flatMap(([path, text]) =>
      text === node.before.get(path) ? [] : [path],
    );
    assert.deepEqual(different.sort(), [
      '/admin.conf',
      '/controller-manager.conf',
      '/pki/apiserver-kubelet-client.crt',
      '/pki/apiserver-kubelet-client.key',
      '/pki/apiserver.crt',
      '/pki/apiserver.key',
      '/scheduler.conf',
      '/super-admin.conf',
    ]);
  });

  for (const [steps, done] of interrupted) {
    it(`completes a return from ${steps.at(-1)} that ended after task ${done}`, async (context) => {
      const node = await nodeAfter(context, ...steps);
      const { tasks, lastTasks } = await plan(node, 'abort');
      for (const task of [...tasks, ...lastTasks].slice(0, done)) await write(task);
      assert.equal(await stageOf(node), steps.at(-1));
      await walk(node, ...steps.map(() => 'abort' as const));
      assert.deepEqual([...(await digestsOf(node)).keys()], [...node.before.keys()]);
      assert.equal(hash('sha256', await textIn(node, 'ca.crt')), node.before.get('/pki/ca.crt'));
    });
  }

  it('returns after kubeadm certs renew, which drops the bridge and a CA', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const signer = {
      certificate: await bytesOf(node, 'ca-next.crt'),
      key: await bytesOf(node, 'ca-next.key'),
    };
    const leaf = issueWithOpenssl({ subject: '/CN=renewed', extensions: leafExtensions, signer });
    await writePair(join(node.certificates, 'apiserver.crt'), leaf);
    await writeFile(join(node.kubernetes, 'admin.conf'), kubeconfigOf(signer.certificate, leaf));
    await walk(node, 'abort');
    assert.deepEqual(await issuersOn(node), ['old']);
    await walk(node, 'abort');
    assert.match(await readFile(join(node.kubernetes, 'admin.conf'), 'utf8'), oldAlone(node));
  });

  it('leaves a node on which trust and switch can follow', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch', 'abort');
    assert.deepEqual(changedFiles(await plan(node, 'trust')), []);
    await walk(node, 'switch');
    assert.equal(await stageOf(node), 'switch');
    await walk(node, 'finish');
    assert.deepEqual([...(await digestsOf(node)).keys()], [...node.before.keys()]);
  });

  it('ends with the error of a kubeconfig that cannot be read', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    const { tasks } = await plan(node, 'abort');
    for (const task of tasks.slice(0, -1)) await write(task);
    // Only admin.conf shows that the stage is not over.
    const path = join(node.kubernetes, 'admin.conf');
    assert.equal(await stageOf(node), 'switch');
    await rm(path);
    await symlink(unreadableFile, path);
    await assert.rejects(stageOf(node), { code: 'STORE_IO' });
  });

  it('refuses a node that no longer trusts the old CA', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch');
    await copyFile(join(node.certificates, 'ca-next.crt'), join(node.certificates, 'ca.crt'));
    const { obstacles, tasks } = await plan(node, 'abort');
    assert.deepEqual(tasks, []);
    assert.match(obstacles[0]?.message ?? '', /ca.crt no longer has the old CA/);
    assert.match(obstacles[0]?.remedy ?? '', /apply create --ca kubernetes --import DIR$/);
  });
});

describe('harmOn()', () => {
  it('names the CA that ca.crt lacks after a return from switch', async (context) => {
    const node = await nodeAfter(context, 'trust', 'switch', 'abort');
    await copyFile(join(node.certificates, 'ca-previous.crt'), join(node.certificates, 'ca.crt'));
    const { harm } = await plan(node, 'trust');
    assert.match(harm[0]?.message ?? '', /ca.crt lacks the new CA/);
    assert.match(harm[0]?.remedy ?? '', /apply trust --ca kubernetes$/);
  });
});

async function bytesOf({ certificates }: KubeadmTree, name: string): Promise<Buffer> {
  return readFile(join(certificates, name));
}

function oldAlone({ authorities }: KubeadmTree): RegExp {
  return new RegExp(
    `certificate-authority-data: ${authorities.ca.certificate.toString('base64')}\n`,
  );
}
