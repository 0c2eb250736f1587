import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { cp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../../src/core/errors.ts';
import { kubeconfigCertificate } from '../../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../../src/kube/kubeconfig-document.ts';
import { readCertificates } from '../../../src/pki/renewal/certificate-chain.ts';
import { renew, rollBackTo } from '../../../src/pki/renewal/renewal.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { optionsFor, requestFor } from './renewal-tree.ts';

/** The checks of a tree in which a renewal was interrupted. */

/** A pair of a server, and the kubeconfig of an administrator. */
export const selection = ['apiserver', 'admin.conf'];

export type Snapshot = Awaited<ReturnType<typeof snapshot>>;
export const filesOf = (tree: KubeadmTree): Promise<Snapshot> =>
  snapshot(tree.kubernetes, '/.nodecertd');

export async function renewBoth(tree: KubeadmTree): Promise<void> {
  const options = { ...optionsFor({ selection }), describe: () => ({}), endpoints: [] };
  const { result } = await renew(requestFor(tree), options);
  if (result.failed === undefined) return;
  const { code, message } = result.failed.failure;
  throw new AgentError(code, message);
}

export async function rollBack(tree: KubeadmTree): Promise<void> {
  await rollBackTo(requestFor(tree), { time: undefined, force: false });
}

/** The key of the administrator belongs to the certificate in the same file, at every moment. */
export async function requireAdmin(tree: KubeadmTree): Promise<void> {
  const path = join(tree.kubernetes, 'admin.conf');
  const document = new KubeconfigDocument(path, await readFile(path, 'utf8'));
  const { source } = kubeconfigCertificate(document);
  assert.ok(source.kind === 'embedded');
  await requireKey(source.certificate, Buffer.from(source.key.expose()));
}

export async function requireServer(tree: KubeadmTree): Promise<void> {
  const file = (name: string): Promise<Buffer> => readFile(join(tree.certificates, name));
  await requireKey(await file('apiserver.crt'), await file('apiserver.key'));
}

async function requireKey(certificate: Uint8Array, key: Buffer): Promise<void> {
  const [leaf] = await readCertificates(certificate);
  assert.ok(leaf?.openssl.checkPrivateKey(createPrivateKey(key)), 'key and certificate differ');
}

/** Only the renewed files differ, each is complete, and there is no temporary file. */
async function requireTidy(tree: KubeadmTree, previous: Snapshot): Promise<void> {
  const expected = ['/admin.conf', '/pki/apiserver.crt', '/pki/apiserver.key'];
  const now = await filesOf(tree);
  const changed = [...now].filter(([path, content]) => previous.get(path) !== content);
  assert.ok(
    changed.every(([path]) => expected.includes(path)),
    changed.map(([path]) => path).join(),
  );
  assert.equal(now.size, previous.size);
}

export async function runsLeft(tree: KubeadmTree): Promise<string[]> {
  const names = await readdir(join(tree.kubernetes, '.nodecertd')).catch(() => []);
  return names.filter((name) => !['.nodecertd.lock', 'pending'].includes(name));
}

/** After a crash, renew() and rollBackTo() both lead to files that match. */
export async function requireRecovery(tree: KubeadmTree, previous: Snapshot): Promise<void> {
  await requireAdmin(tree);
  const crashed = `${tree.kubernetes}-crashed`;
  await cp(tree.kubernetes, crashed, { recursive: true, preserveTimestamps: true });
  await renewBoth(tree);
  await requireTidy(tree, previous);
  await requireServer(tree);
  await requireAdmin(tree);

  // The manifest has absolute paths, so the rollback needs the same place.
  await rm(tree.kubernetes, { recursive: true });
  await rename(crashed, tree.kubernetes);
  await rollBack(tree);
  assert.deepEqual(await filesOf(tree), previous);
  assert.deepEqual(await runsLeft(tree), []);
}
