import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileOf, kubeadmCertificates } from '../../src/pki/layout.ts';
import { openssl } from '../core/openssl.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import {
  changedFiles,
  manifestIn,
  plan,
  textIn,
  walk,
  writeNextAuthority,
} from '../trust/control-plane/rollover-tree.ts';

/** The files of each step, on trees that kubeadm made, and kubeadm between the steps. */

const skip = skipWithoutKubeadm();
const manager = 'kube-controller-manager';
const byCa = kubeadmCertificates.filter(({ authority }) => authority === 'ca');

describe('planNodeStep()', { skip }, () => {
  let original: RealKubeadmTree;
  before(async () => {
    original = await RealKubeadmTree.create();
    const [certificate, key] = [await textIn(original, 'ca.crt'), await textIn(original, 'ca.key')];
    await writeNextAuthority(original, {
      certificate: Buffer.from(certificate),
      key: Buffer.from(key),
    });
  });
  after(async () => original[Symbol.asyncDispose]());

  it('leaves a tree that kubeadm can check and renew in each stage', async () => {
    await using tree = await original.copy();
    await writeManifests(tree);
    for (const step of ['trust', 'switch'] as const) {
      await walk(tree, step);
      await tree.kubeadm('certs', 'check-expiration');
      await tree.kubeadm('certs', 'renew', 'all');
      const repaired = changedFiles(await plan(tree, step));
      assert.ok(
        repaired.some((file) => file.startsWith('admin.conf: ')),
        repaired.join('\n'),
      );
      assert.equal(
        repaired.some((file) => file.startsWith('apiserver: ')),
        step === 'switch',
      );
      await walk(tree, step);
      assert.deepEqual(changedFiles(await plan(tree, step)), []);
    }
    await walk(tree, 'finish');
    await tree.kubeadm('certs', 'check-expiration');
    await tree.kubeadm('certs', 'renew', 'all');
    await requireNewCa(tree);
  });

  it('restores the flags that kubeadm writes again in an upgrade', async () => {
    await using tree = await original.copy();
    await writeManifests(tree);
    await walk(tree, 'trust');
    await writeManifests(tree);
    assert.match(
      changedFiles(await plan(tree, 'trust')).join('\n'),
      /^kube-controller-manager: .*$/,
    );
    await walk(tree, 'trust');
    assert.match(await readFile(manifestIn(tree, manager), 'utf8'), /ca-signing\.crt/);
  });

  it('ends with the files of kubeadm, and its manifest except for one annotation', async () => {
    await using tree = await original.copy();
    await writeManifests(tree);
    const [manifest, names] = [
      await readFile(manifestIn(tree, manager), 'utf8'),
      await readdir(tree.certificates),
    ];
    await walk(tree, 'trust', 'switch', 'finish');
    const changed = await readFile(manifestIn(tree, manager), 'utf8');
    assert.equal(changed.replace(/^.*nodecertd\.io\/restarted-at.*\n/m, ''), manifest);
    const left = names.filter((name) => !/^ca-(?:next|bridge)\./.test(name));
    assert.deepEqual(await readdir(tree.certificates), left);
    await requireNewCa(tree);
  });
});

/** kubeadm writes the paths of a machine. */
async function writeManifests(tree: RealKubeadmTree): Promise<void> {
  await tree.kubeadm('init', 'phase', 'control-plane', 'all');
  for (const name of ['kube-apiserver', manager, 'kube-scheduler']) {
    const path = manifestIn(tree, name);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replaceAll('/etc/kubernetes', tree.kubernetes));
  }
}

/** The new CA alone verifies every certificate, and every kubeconfig trusts it alone. */
async function requireNewCa(tree: RealKubeadmTree): Promise<void> {
  const ca = join(tree.certificates, 'ca.crt');
  const { publicKey, subject } = new X509Certificate(await readFile(ca));
  assert.match(subject, /^CN=kubernetes 2026-11$/);
  openssl(['verify', '-CAfile', ca, join(tree.certificates, 'apiserver.crt')]);
  for (const entry of byCa) {
    const text = await readFile(fileOf(entry, tree), 'utf8');
    const [certificate = '', trusted] =
      entry.kind === 'pair'
        ? [text]
        : [embedded(text, 'client-certificate-data'), embedded(text, 'certificate-authority-data')];
    assert.ok(new X509Certificate(certificate).verify(publicKey), entry.name);
    if (trusted !== undefined) assert.equal(trusted, await textIn(tree, 'ca.crt'), entry.name);
  }
}

function embedded(kubeconfig: string, key: string): string {
  const data = new RegExp(`${key}: (\\S+)`).exec(kubeconfig)?.[1] ?? '';
  return Buffer.from(data, 'base64').toString();
}
