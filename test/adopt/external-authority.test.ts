import assert from 'node:assert/strict';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { AdoptionRequest } from '../../src/adopt/adoption.ts';
import { adopt, previewAdoption, revert } from '../../src/adopt/adoption.ts';
import type { Tree } from '../../src/sys/tree.ts';
import { base64 } from '../kube/support/api-server.ts';
import { makeTestAuthority } from '../trust/node/authority.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import {
  embedding,
  following,
  kubeadmNode,
  kubeconfigFile,
  nodeConfig,
  requestFor,
} from './kubeadm-node.ts';
import { diffsOf, idsOf } from './plan-text.ts';
import { snapshot } from './snapshot.ts';

const { pem } = makeTestAuthority();
const authorityFile = '/var/lib/kubelet/pki/cluster-ca.crt';

function request(tree: Tree): AdoptionRequest {
  const trust = { ...trustDefaults, externalize: true };
  return { ...requestFor(tree), config: { ...nodeConfig, trust } };
}

/** The kubeconfig with CAs in front of the address. */
function withCa(kubeconfig: string, line: string): string {
  return kubeconfig.replace('    server:', `    ${line}\n    server:`);
}

const embedded = `certificate-authority-data: ${base64(pem)}`;

describe('adopt() with trust.externalize', () => {
  it('moves the CAs to a file, and revert() restores every byte', async (context) => {
    const { tree, pair } = await kubeadmNode(context);
    const at = (path: string): string => join(tree.root, path);
    await writeFile(at(kubeconfigFile), withCa(embedding(pair), embedded));
    const before = await snapshot(tree.root);
    const { plan } = await adopt(request(tree));
    assert.deepEqual(idsOf(plan).slice(0, 2), ['step cluster-ca', 'step kubeconfig']);
    assert.equal(await readFile(at(authorityFile), 'utf8'), pem);
    assert.equal((await stat(at(authorityFile))).mode & 0o7777, 0o644);
    const named = following.replace(
      /( {4}server: .*\n)/,
      `$1    certificate-authority: ${authorityFile}\n`,
    );
    assert.equal(await readFile(at(kubeconfigFile), 'utf8'), named);
    assert.deepEqual((await previewAdoption(request(tree))).steps, []);
    await revert(request(tree), { force: false });
    assert.deepEqual(await snapshot(tree.root), before);
  });

  it('moves the CAs of a kubelet that was adopted before', async (context) => {
    const { tree } = await kubeadmNode(context);
    await adopt(requestFor(tree));
    await writeFile(join(tree.root, kubeconfigFile), withCa(following, embedded), { mode: 0o600 });
    const { steps } = (await adopt(request(tree))).plan;
    assert.deepEqual(
      steps.map(({ id, what }) => [id, what]),
      [
        ['cluster-ca', 'the CAs that the kubeconfig of the kubelet embeds'],
        ['kubeconfig', `certificate-authority names ${authorityFile}`],
      ],
    );
    assert.equal(await readFile(join(tree.root, authorityFile), 'utf8'), pem);
  });

  it('leaves the CAs to the agent while the certificate directory is missing', async (context) => {
    const { tree, pair } = await kubeadmNode(context);
    await writeFile(join(tree.root, kubeconfigFile), withCa(embedding(pair), embedded));
    await rm(join(tree.root, '/var/lib/kubelet/pki'), { recursive: true });
    const { steps } = await previewAdoption(request(tree));
    assert.ok(steps.every(({ id }) => id !== 'cluster-ca'));
  });

  it('shows no base64 in its diffs', async (context) => {
    const { tree, pair } = await kubeadmNode(context);
    await writeFile(join(tree.root, kubeconfigFile), withCa(embedding(pair), embedded));
    assert.doesNotMatch(diffsOf(await previewAdoption(request(tree))), /[A-Za-z0-9+/]{40}/);
  });

  for (const [what, line] of [
    ['names a file', 'certificate-authority: /etc/kubernetes/pki/ca.crt'],
    ['has no CAs', 'tls-server-name: kubernetes'],
    ['has an alias of them', `${embedded.replace(': ', ': &ca ')}\n    copy: *ca`],
  ] as const) {
    it(`leaves the CAs of a kubeconfig that ${what}`, async (context) => {
      const { tree } = await kubeadmNode(context, { '/etc/kubernetes/pki/ca.crt': pem });
      await writeFile(join(tree.root, kubeconfigFile), withCa(following, line));
      const { plan } = await adopt(request(tree));
      assert.deepEqual(plan.obstacles, []);
      assert.equal(
        await readFile(join(tree.root, kubeconfigFile), 'utf8'),
        withCa(following, line),
      );
    });
  }
});
