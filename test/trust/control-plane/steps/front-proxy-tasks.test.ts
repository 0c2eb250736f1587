import assert from 'node:assert/strict';
import { readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { AnyNodeStepName, NodeStep } from '../../../../src/trust/control-plane/node-step.ts';
import { openssl } from '../../../core/openssl.ts';
import { authorityOf } from '../../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../../pki/renewal/renewal-tree.ts';
import { copyOf, sharedTree, writePair } from '../../../pki/renewal/renewal-tree.ts';
import {
  changedFiles,
  manifestIn,
  plan as planOf,
  textIn,
  unreadableFile,
  writeManifests,
  writeStep,
} from '../rollover-tree.ts';

const tree = sharedTree();

/** A node after the step `create`. */
async function created(context: TestContext): Promise<KubeadmTree> {
  const copy = await copyOf(context, tree);
  await writeManifests(copy);
  const next = authorityOf({ subject: '/CN=front-proxy-ca 2026-11' });
  await writePair(join(copy.certificates, 'front-proxy-ca-next.crt'), next);
  return copy;
}

function plan(node: KubeadmTree, step: AnyNodeStepName): Promise<NodeStep> {
  return planOf(node, step, 'front-proxy');
}

async function walk(node: KubeadmTree, ...steps: readonly AnyNodeStepName[]): Promise<void> {
  for (const step of steps) await writeStep(await plan(node, step));
}

describe('planNodeStep() for the CA front-proxy', () => {
  it('trust writes both CAs, and switch puts the new one first with its key', async (context) => {
    const node = await created(context);
    const old = await textIn(node, 'front-proxy-ca.crt');
    const next = await textIn(node, 'front-proxy-ca-next.crt');
    assert.deepEqual(changedFiles(await plan(node, 'trust')), [
      'trusted CAs: front-proxy-ca.crt (the old CA, then the new CA)',
    ]);
    await walk(node, 'trust');
    assert.equal(await textIn(node, 'front-proxy-ca.crt'), old + next);
    assert.deepEqual(changedFiles(await plan(node, 'switch')), [
      'previous CA: front-proxy-ca-previous.key (the key of the old CA)',
      'previous CA: front-proxy-ca-previous.crt (the old CA)',
      'front-proxy-client: front-proxy-client.crt (a certificate from the new CA)',
      'front-proxy-client: front-proxy-client.key (a new key)',
      'trusted CAs: front-proxy-ca.key (the key of the new CA)',
      'trusted CAs: front-proxy-ca.crt (the new CA, then the old CA)',
    ]);
    await walk(node, 'switch');
    assert.equal(await textIn(node, 'front-proxy-ca.crt'), next + old);
    const key = join(node.certificates, 'front-proxy-ca.key');
    assert.equal((await stat(key)).mode & 0o777, 0o600);
    assert.deepEqual(changedFiles(await plan(node, 'switch')), []);
  });

  it('finish leaves the names of kubeadm, with a certificate from the new CA', async (context) => {
    const node = await created(context);
    const names = (await readdir(tree.certificates)).toSorted();
    const { subject } = await factsOf(node);
    const next = await textIn(node, 'front-proxy-ca-next.crt');
    await walk(node, 'trust', 'switch', 'finish');
    assert.deepEqual((await readdir(node.certificates)).toSorted(), names);
    assert.equal(await textIn(node, 'front-proxy-ca.crt'), next);
    const after = await factsOf(node);
    assert.equal(after.subject, subject);
    assert.match(after.verified, /: OK/);
  });

  it('abort goes back by one step, and leaves the names of kubeadm', async (context) => {
    const node = await created(context);
    const names = (await readdir(tree.certificates)).toSorted();
    const old = await textIn(node, 'front-proxy-ca.crt');
    const next = await textIn(node, 'front-proxy-ca-next.crt');
    await walk(node, 'trust', 'switch');
    assert.deepEqual(changedFiles(await plan(node, 'abort')), [
      'front-proxy-client: front-proxy-client.crt (a certificate from the old CA)',
      'front-proxy-client: front-proxy-client.key (a new key)',
      'trusted CAs: front-proxy-ca.key (the key of the old CA)',
      'trusted CAs: front-proxy-ca.crt (the old CA, then the new CA)',
      'files of the rollover: front-proxy-ca-previous.key (removed)',
      'files of the rollover: front-proxy-ca-previous.crt (removed)',
    ]);
    await walk(node, 'abort');
    assert.equal(await textIn(node, 'front-proxy-ca.crt'), old + next);
    assert.deepEqual(changedFiles(await plan(node, 'trust')), []);
    assert.deepEqual(changedFiles(await plan(node, 'abort')), [
      'trusted CAs: front-proxy-ca.crt (the old CA)',
      'files of the rollover: front-proxy-ca-next.key (removed)',
      'files of the rollover: front-proxy-ca-next.crt (removed)',
    ]);
    await walk(node, 'abort');
    assert.equal(await textIn(node, 'front-proxy-ca.crt'), old);
    assert.deepEqual((await readdir(node.certificates)).toSorted(), names);
    assert.match((await factsOf(node)).verified, /: OK/);
  });

  it('writes both CAs into another file of --requestheader-client-ca-file', async (context) => {
    const node = await created(context);
    const file = join(node.certificates, 'proxies.crt');
    await writeFile(file, await textIn(node, 'front-proxy-ca.crt'));
    const manifest = manifestIn(node, 'kube-apiserver');
    const flag = '--requestheader-client-ca-file=';
    const text = await textIn(
      { ...node, certificates: join(manifest, '..') },
      'kube-apiserver.yaml',
    );
    await writeFile(manifest, text.replace(new RegExp(`${flag}.*`), flag + file));
    assert.deepEqual(changedFiles(await plan(node, 'trust')), [
      'trusted CAs: front-proxy-ca.crt (the old CA, then the new CA)',
      'trusted CAs: proxies.crt (the old CA, then the new CA)',
    ]);
  });

  it('refuses a step before the previous one, and trust after the switch', async (context) => {
    const node = await created(context);
    const refused = async (step: AnyNodeStepName): Promise<string | undefined> =>
      (await plan(node, step)).obstacles[0]?.message;
    assert.equal(await refused('switch'), 'the step trust is not complete on this node');
    await walk(node, 'trust');
    assert.equal(await refused('finish'), 'the step switch is not complete on this node');
    await walk(node, 'switch');
    assert.match((await refused('trust')) ?? '', /^the step switch has begun on this node/);
    await writeFile(
      join(node.certificates, 'front-proxy-ca.crt'),
      await textIn(node, 'front-proxy-ca-next.crt'),
    );
    assert.match((await refused('abort')) ?? '', /no longer has the old CA/);
  });

  it('refuses to switch if kube-apiserver uses another client certificate', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    const manifest = manifestIn(node, 'kube-apiserver');
    const flag = '--proxy-client-cert-file=';
    const text = await textIn(
      { ...node, certificates: join(manifest, '..') },
      'kube-apiserver.yaml',
    );
    await writeFile(
      manifest,
      text.replace(new RegExp(`${flag}.*`), flag + join(node.certificates, 'other.crt')),
    );
    await assert.rejects(plan(node, 'switch'), {
      code: 'CONFIG_INVALID',
      message: /\/other\.crt as --proxy-client-cert-file/,
    });
  });

  it('does not take a key that cannot be read for a missing key', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    const key = join(node.certificates, 'front-proxy-ca.key');
    await rm(key);
    await symlink(unreadableFile, key);
    await assert.rejects(plan(node, 'switch'), { code: 'STORE_IO', message: /cannot read .*mem/ });
  });

  it('does not take a component whose manifest cannot be read for a missing one', async (context) => {
    const node = await created(context);
    const manifest = join(node.kubernetes, 'manifests/kube-apiserver.yaml');
    await rm(manifest);
    await symlink(unreadableFile, manifest);
    await assert.rejects(plan(node, 'trust'), {
      code: 'STORE_IO',
      message: `the manifest ${manifest} cannot be read (EIO)`,
    });
  });
});

async function factsOf(
  node: KubeadmTree,
): Promise<{ readonly subject: string; readonly verified: string }> {
  const [ca, leaf] = ['front-proxy-ca.crt', 'front-proxy-client.crt'].map((name) =>
    join(node.certificates, name),
  );
  return {
    subject: openssl(['x509', '-noout', '-subject', '-in', leaf ?? '']),
    verified: openssl(['verify', '-CAfile', ca ?? '', leaf ?? '']),
  };
}
