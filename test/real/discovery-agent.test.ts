import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { day, hour } from '../../src/core/instant.ts';
import { base64, kubeconfigText } from '../kube/support/api-server.ts';
import type { Authority } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { client, serving, TestNode } from '../support/agent.ts';
import { DiscoveryPlane, pinOf } from '../support/discovery-plane.ts';
import { doctorReport, findingOf, nodecertd } from '../support/doctor.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

const skip = skipWithoutRealControlPlane();

/** Agents that find their cluster with kubeadm's cluster-info and the real bootstrap signer. */
describe('an agent with bootstrap.discovery', { skip }, () => {
  let cluster: DiscoveryPlane;
  let token = '';
  before(async () => {
    cluster = await DiscoveryPlane.start();
    token = await cluster.createSignedToken();
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  /** A node without a bootstrap kubeconfig. */
  async function nodeWith(
    name: string,
    pins: readonly string[],
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<TestNode> {
    const discovery = { endpoints: [cluster.endpoint], tokenFile: 'token', caCertHashes: pins };
    const node = await TestNode.create(cluster.plane, name, {
      bootstrapKubeconfig: 'none.conf',
      bootstrap: { discovery },
      ...settings,
    });
    await writeFile(join(node.directory, 'token'), `${token}\n`, { mode: 0o600 });
    return node;
  }

  /** Everything that a node has from a CA that the cluster had before: a certificate and its kubeconfig. */
  async function writeOldIdentity(node: TestNode, old: Authority, notAfter: number): Promise<void> {
    const { cert, key } = await old.issue({
      commonName: `system:node:${node.name}`,
      organizations: ['system:nodes'],
      usages: ['client auth'],
      notBefore: Date.now() - day,
      notAfter,
    });
    await mkdir(node.pki, { recursive: true });
    const file = join(node.pki, 'kubelet-client-2026-01-01-00-00-00.pem');
    await writeFile(file, `${cert}${key}`, { mode: 0o600 });
    await symlink(file, node.current('kubelet-client'));
    const link = node.current('kubelet-client');
    const text = kubeconfigText({
      cluster: { server: cluster.plane.server, 'certificate-authority-data': base64(old.pem) },
      user: { 'client-certificate': link, 'client-key': link },
    });
    await writeFile(join(node.directory, 'kubelet.conf'), text, { mode: 0o600 });
  }

  it('joins without any kubeconfig, and removes the token file', async () => {
    const bootstrap = {
      discovery: {
        endpoints: ['127.0.0.1:1', cluster.endpoint],
        tokenFile: 'token',
        caCertHashes: [cluster.pin],
      },
      deleteAfterUse: true,
    };
    await using node = await nodeWith('discovering', [], { bootstrap });
    const agent = node.start();
    await agent.event('certificate_stored');
    assert.equal((await agent.event('cluster_discovered'))['server'], cluster.plane.server);
    assert.equal((await agent.event('bootstrap_removed'))['path'], join(node.directory, 'token'));
    assert.ok(!existsSync(join(node.directory, 'token')));
    assert.equal((await trustOf(node)).trim(), cluster.plane.caPem.trim());
    assert.ok(!JSON.stringify(agent.lines).includes(token.split('.')[1] ?? ''));
    const found = await doctorReport('--config', node.configFile);
    assert.equal(found.code, 0, found.stdout);
  });

  it('comes back after a missed rollover, once its certificate has expired', async () => {
    const old = await makeAuthority('kubernetes');
    await using node = await nodeWith('absent', [pinOf(old.pem), cluster.pin]);
    await writeOldIdentity(node, old, Date.now() - hour);
    const agent = node.start();
    await agent.event('certificate_stored');
    await agent.event('kubeconfig_replaced');
    assert.equal((await trustOf(node)).trim(), cluster.plane.caPem.trim());
    assert.equal(
      (await node.read('kubelet-client')).subject.split('\n').at(-1),
      'CN=system:node:absent',
    );
  });

  it('comes back after a missed rollover while its certificate is valid by its dates', async () => {
    const old = await makeAuthority('kubernetes');
    const settings = { certificates: [client, serving] };
    await using node = await nodeWith('returning', [pinOf(old.pem), cluster.pin], settings);
    await writeOldIdentity(node, old, Date.now() + 30 * day);
    const addresses = [{ type: 'InternalIP', address: '192.0.2.7' }];
    await cluster.plane.setNodeAddresses(node.name, addresses);
    const agent = node.start();
    await agent.event('identity_refused');
    await agent.event('certificate_stored', 'kubelet-client');
    await agent.event('kubeconfig_replaced');
    const { csr } = await agent.event('csr_created', 'kubelet-server');
    await cluster.plane.approve(String(csr));
    await agent.event('certificate_stored', 'kubelet-server');
  });

  it('says which command brings it back if only the old CA is pinned', async () => {
    const old = await makeAuthority('kubernetes');
    await using node = await nodeWith('lost', [pinOf(old.pem)]);
    await writeOldIdentity(node, old, Date.now() - hour);
    const agent = node.start();
    const { code, remedy } = await agent.event('rotation_failed');
    assert.equal(code, 'CLUSTER_UNTRUSTED');
    const command = `nodecertd discover --endpoint ${cluster.endpoint} --token-file ${join(node.directory, 'token')} --ca-cert-hash sha256:`;
    assert.ok(String(remedy).includes(command), String(remedy));
    const { stdout } = await nodecertd('status', '--config', node.configFile);
    assert.ok(stdout.includes(command), stdout);
    const found = await doctorReport('--config', node.configFile);
    assert.equal(found.code, 4);
    const { what, remedy: advice = '' } = findingOf(found, 'trust-lost');
    assert.ok(what.includes(cluster.pin), what);
    assert.ok(advice.includes(command), advice);
    assert.deepEqual(agent.all('csr_created'), []);
  });
});

/** The CAs in the kubeconfig of the node. */
async function trustOf(node: TestNode): Promise<string> {
  const text = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
  const { clusters } = parse(text) as {
    readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[];
  };
  const data = clusters[0]?.cluster['certificate-authority-data'] ?? '';
  return Buffer.from(data, 'base64').toString();
}
