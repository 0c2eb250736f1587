import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { kubeconfigCertificate } from '../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../src/kube/kubeconfig-document.ts';
import { readCertificates } from '../../src/pki/certificate-chain.ts';
import { renew, rollBackTo } from '../../src/pki/renewal.ts';
import { AgentError } from '../../src/core/errors.ts';
import { FsFaults } from '../adopt/fs-faults.ts';
import { snapshot } from '../adopt/snapshot.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { copyOf, makeKubeadmTree, optionsFor, requestFor } from './renewal-tree.ts';

const renewer = join(import.meta.dirname, 'renewal.process.ts');
const selection = ['apiserver', 'admin.conf'];
const faults = await FsFaults.install();

let root = '';
let model: KubeadmTree;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodecertd-crash-'));
  model = await makeKubeadmTree(root);
});
after(async () => rm(root, { recursive: true, force: true }));

type Snapshot = Awaited<ReturnType<typeof snapshot>>;
const filesOf = (tree: KubeadmTree): Promise<Snapshot> => snapshot(tree.kubernetes, '/.nodecertd');

async function renewBoth(tree: KubeadmTree): Promise<void> {
  const options = { ...optionsFor({ selection }), describe: () => ({}), endpoints: [] };
  const { result } = await renew(requestFor(tree), options);
  if (result.failed === undefined) return;
  const { code, message } = result.failed.failure;
  throw new AgentError(code, message);
}

async function rollBack(tree: KubeadmTree): Promise<void> {
  await rollBackTo(requestFor(tree), { time: undefined, force: false });
}

/** The exit code, or null when it was killed. */
async function crash(
  tree: KubeadmTree,
  action: 'renew' | 'rollback',
  step: number,
): Promise<number | null> {
  const child = spawn(process.execPath, [renewer, tree.kubernetes, action, String(step)], {
    stdio: ['ignore', 'ignore', 'inherit'],
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

/** The key of the administrator belongs to the certificate in the same file, at every moment. */
async function requireAdmin(tree: KubeadmTree): Promise<void> {
  const path = join(tree.kubernetes, 'admin.conf');
  const document = new KubeconfigDocument(path, await readFile(path, 'utf8'));
  const { source } = kubeconfigCertificate(document);
  assert.ok(source.kind === 'embedded');
  await requireKey(source.certificate, Buffer.from(source.key.expose()));
}

async function requireServer(tree: KubeadmTree): Promise<void> {
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

async function runsLeft(tree: KubeadmTree): Promise<string[]> {
  const names = await readdir(join(tree.kubernetes, '.nodecertd')).catch(() => []);
  return names.filter((name) => basename(name) !== '.nodecertd.lock');
}

/** After a crash, renew() and rollBackTo() both lead to files that match. */
async function requireRecovery(tree: KubeadmTree, previous: Snapshot): Promise<void> {
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

test('renew() and rollBackTo() recover from renew() killed at any step', async (context) => {
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

test('renew() and rollBackTo() recover from rollBackTo() killed at any step', async (context) => {
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
    for (let at = 1, isHit = true; isHit; at += 1) {
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
    assert.ok(failed > 20, `only ${failed} runs failed`);
  });
}
