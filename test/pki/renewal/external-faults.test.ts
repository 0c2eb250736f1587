import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { readCertificates } from '../../../src/pki/renewal/certificate-chain.ts';
import { FsFaults } from '../../adopt/fs-faults.ts';
import { openssl } from '../../core/openssl.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { ExternalTree } from './external-tree.ts';
import {
  exportFor,
  externalTree,
  importInto,
  pendingFolder,
  pendingKey,
  sign,
} from './external-tree.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { sharedTree } from './renewal-tree.ts';

/** An error at each call of node:fs while CSRs are exported and certificates imported. */

const faults = await FsFaults.install();

const model = sharedTree();

async function copy(context: TestContext, tree: ExternalTree): Promise<ExternalTree> {
  const folder = await temporaryDirectory(context);
  const kubernetes = join(folder, 'etc/kubernetes');
  await cp(tree.kubernetes, kubernetes, { recursive: true, preserveTimestamps: true });
  const certificates = join(kubernetes, 'pki');
  return { ...tree, kubernetes, certificates, csrs: join(folder, 'csrs') };
}

interface Round {
  readonly isHit: boolean;
  readonly isFailed: boolean;
}

/** Runs the step, in which one call fails. */
async function failAt(at: number, step: () => Promise<unknown>): Promise<Round> {
  let error: unknown;
  const isHit = await faults.during({ at, code: 'EIO', lasting: false }, async () => {
    await step().catch((thrown: unknown) => {
      error = thrown;
    });
  });
  if (error === undefined) return { isHit, isFailed: false };
  assert.ok(error instanceof AgentError);
  assert.match(error.code, /^STORE_/);
  return { isHit, isFailed: true };
}

/** Fails a later call in each round, until a round has no fault. Returns the number of failures. */
async function forEachFault(round: (at: number) => Promise<Round>): Promise<number> {
  let failures = 0;
  for (let at = 1; ; at += 1) {
    const { isHit, isFailed } = await round(at);
    if (isFailed) failures += 1;
    if (!isHit) return failures;
  }
}

test('exportRequests() after an error has one key, which the CSR is for', async (context) => {
  const fresh = await externalTree(context, model);
  const failed = await forEachFault(async (at) => {
    const tree = await copy(context, fresh);
    const round = await failAt(at, () => exportFor(tree, ['apiserver']));
    const [planned] = await exportFor(tree, ['apiserver']);
    assert.equal(planned?.kind, 'request');
    assert.deepEqual(await readdir(pendingFolder(tree)), ['apiserver.key']);
    assert.deepEqual(await readdir(tree.csrs), ['apiserver.csr']);
    const key = createPublicKey(await readFile(pendingKey(tree, 'apiserver')));
    const csr = ['req', '-in', join(tree.csrs, 'apiserver.csr'), '-noout', '-pubkey', '-verify'];
    assert.equal(openssl(csr), key.export({ format: 'pem', type: 'spki' }));
    return round;
  });
  context.diagnostic(`${failed} runs failed`);
  assert.ok(failed > 10, `only ${failed} runs failed`);
});

test('renew() from a folder after an error imports with the pending key', async (context) => {
  const exported = await externalTree(context, model);
  await exportFor(exported, ['apiserver']);
  const csr = join(exported.csrs, 'apiserver.csr');
  const certificate = sign(csr, exported.authorities.ca);
  await writeFile(join(exported.signed, 'apiserver.crt'), certificate);
  const failed = await forEachFault(async (at) => {
    const tree = await copy(context, exported);
    const round = await failAt(at, async () => {
      const { failed: item } = await importInto(tree);
      if (item !== undefined) throw new AgentError(item.failure.code, item.failure.message);
    });
    await requirePair(tree);
    if ((await readdir(pendingFolder(tree))).length > 0) await importInto(tree);
    assert.deepEqual(await readdir(pendingFolder(tree)), []);
    await requirePair(tree);
    assert.equal(await readFile(join(tree.certificates, 'apiserver.crt'), 'utf8'), certificate);
    return round;
  });
  context.diagnostic(`${failed} runs failed`);
  assert.ok(failed > 20, `only ${failed} runs failed`);
});

async function requirePair({ certificates }: KubeadmTree): Promise<void> {
  const [leaf] = await readCertificates(await readFile(join(certificates, 'apiserver.crt')));
  const key = createPrivateKey(await readFile(join(certificates, 'apiserver.key')));
  assert.ok(leaf?.openssl.checkPrivateKey(key));
}
