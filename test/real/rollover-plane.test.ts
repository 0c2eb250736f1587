import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { base64 } from '../kube/support/api-server.ts';
import { absentNode } from '../support/absent-node.ts';
import type { TestNode } from '../support/agent.ts';
import { ApiClient } from '../support/api-client.ts';
import type { ClusterCa, KeyPair } from '../support/cluster-pki.ts';
import { doctorReport, findingOf, nodecertd } from '../support/doctor.ts';
import { scaled } from '../support/machine-speed.ts';
import { submitNodeCsr } from '../support/node-csr.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { bundleOf, RolloverPlane, shortFingerprintOf } from '../support/rollover-plane.ts';
import { statusOfNewConnection } from '../support/single-request.ts';
import { until } from '../support/until.ts';

const nodeName = 'worker-1';
const nodePath = `/api/v1/nodes/${nodeName}`;
const rootCa = '/api/v1/namespaces/default/configmaps/kube-root-ca.crt';
const authentication =
  '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';

const skip = skipWithoutRealControlPlane();

/**
 * What Kubernetes does when its CA files change. The agent and the gates rely on it. Each test
 * continues where the previous one ended, in the order of a rollover. At the end, agents come back
 * that were off all the time.
 */
describe('Kubernetes during a CA rollover', { skip, timeout: scaled(240_000) }, () => {
  let rollover: RolloverPlane;
  let oldCa: ClusterCa;
  let newCa: ClusterCa;
  /** A node that keeps its old trust and its old certificate through the whole rollover. */
  let absent: KeyPair;

  before(async () => {
    rollover = await RolloverPlane.start();
    ({ oldCa, newCa } = rollover);
    await rollover.plane.setNodeAddresses(nodeName, []);
    await using bearer = client({ token: bootstrapToken });
    absent = await rollover.requestNodePair(bearer, nodeName);
  });
  after(async () => rollover?.[Symbol.asyncDispose]());

  function client(credential: Partial<KeyPair> & { readonly token?: string }): ApiClient {
    return new ApiClient({ server: rollover.server, caPem: rollover.bundle, ...credential });
  }

  async function node(): Promise<ApiClient> {
    return client(await oldCa.issue(nodeLeaf));
  }

  it('a node reads trust bundles and annotates itself, and reads no published CA', async () => {
    await using self = await node();
    const bundles = '/apis/certificates.k8s.io/v1/clustertrustbundles';
    assert.equal((await self.request({ method: 'GET', path: bundles })).status, 200);
    const annotations = { 'nodecertd.io/trust': '{}' };
    const body = { metadata: { annotations } };
    assert.equal((await self.request({ method: 'PATCH', path: nodePath, body })).status, 200);
    assert.equal((await self.request({ method: 'GET', path: rootCa })).status, 403);
    const info = '/api/v1/namespaces/kube-public/configmaps/cluster-info';
    assert.equal((await self.request({ method: 'GET', path: info })).status, 403);
    await using anonymous = client({});
    assert.equal((await anonymous.request({ method: 'GET', path: info })).status, 200);
  });

  it('a CA file cut in its second certificate counts as the first, without an error', async () => {
    const cut = bundleOf(oldCa, newCa).slice(0, -200);
    await rollover.plane.replaceFiles({ 'client-ca.crt': cut });
    await assert.rejects(untilAccepted(newCa, 3), /not in time/);
    assert.equal(await rollover.statusFor(await oldCa.issue(probe)), 403);
  });

  it('the API server accepts clients of a CA as soon as its file has it', async (t) => {
    const since = performance.now();
    await rollover.acceptClientsOf(oldCa, newCa);
    t.diagnostic(`${(performance.now() - since).toFixed(0)} ms`);
    assert.equal(await rollover.statusFor(await oldCa.issue(probe)), 403);
  });

  it('published CAs change only when kube-controller-manager starts', async () => {
    await rollover.plane.replaceFiles({ 'ca.crt': rollover.bundle });
    await rollover.plane.admin.must({
      method: 'POST',
      path: '/api/v1/namespaces',
      body: { metadata: { name: 'later' } },
    });
    await until('the CAs of a new namespace', async () => rollover.publishedIn('later'));
    assert.equal(await rollover.publishedIn('later'), oldCa.certificatePem);
    await rollover.publish(oldCa, newCa);
    await until('the CAs in the other namespace', async () => {
      return (await rollover.publishedIn('later')) === rollover.bundle;
    });
    await until('one trust bundle with both CAs', async () => {
      const [bundle = '', ...others] = await rollover.trustBundles();
      return others.length === 0 && fingerprintsOf(bundle) === fingerprintsOf(rollover.bundle);
    });
  });

  it('a client that trusts the old CA alone needs the bridge of a new server', async () => {
    await rollover.serve(newCa);
    assert.equal(await rollover.verifies(oldCa.certificatePem), false);
    await rollover.serve(newCa, await oldCa.bridgeTo(newCa));
    assert.equal(await rollover.verifies(oldCa.certificatePem), true);
    assert.equal(await rollover.verifies(newCa.certificatePem), true);
  });

  it('nothing is issued while the signing file has two certificates', async () => {
    await rollover.replaceSigner({ ...oldCa, certificatePem: rollover.bundle });
    await using self = await node();
    await submitNodeCsr(self, { name: 'silent', nodeName, usage: 'client auth' });
    await until('an approval', async () => (await conditionsOf('silent')).includes('Approved'));
    await assert.rejects(
      until('the certificate', async () => (await csr('silent'))?.issued === true, 3),
      /not in time/,
    );
  });

  it('the signer uses a replaced pair without a restart, also for a CSR that waited', async (t) => {
    const since = performance.now();
    await rollover.signWith(newCa);
    t.diagnostic(`${(performance.now() - since).toFixed(0)} ms`);
    await until('the certificate', async () => (await csr('silent'))?.issued);
  });

  it('a node with old trust and an old pair gets a new pair alone, over the bridge', async () => {
    const { server } = rollover;
    await using self = new ApiClient({ server, caPem: oldCa.certificatePem, ...absent });
    const renewed = await rollover.requestNodePair(self, nodeName);
    assert.ok(
      new X509Certificate(renewed.certificatePem).verify(
        new X509Certificate(newCa.certificatePem).publicKey,
      ),
    );
    const url = `${server}${nodePath}`;
    const caPem = oldCa.certificatePem;
    assert.equal(await statusOfNewConnection({ url, caPem, pair: renewed }), 200);
  });

  it('a CA that the API server lacks stops kube-controller-manager at its next start', async () => {
    await rollover.acceptClientsOf(oldCa);
    await rollover.identifyControllers(newCa, oldCa, newCa);
    await using self = await node();
    await submitNodeCsr(self, { name: 'no-manager', nodeName, usage: 'client auth' });
    await assert.rejects(
      until('an approval', async () => (await conditionsOf('no-manager')).length > 0, 3),
      /not in time/,
    );
    await rollover.acceptClientsOf(oldCa, newCa);
    await until('the certificate', async () => (await csr('no-manager'))?.issued);
  });

  it('a removed CA is rejected at once, also on open connections', async (t) => {
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    await using open = await node();
    assert.equal((await open.request({ method: 'GET', path: nodePath })).status, 200);
    const since = performance.now();
    await rollover.acceptClientsOf(newCa);
    assert.equal((await open.request({ method: 'GET', path: nodePath })).status, 401);
    t.diagnostic(`${(performance.now() - since).toFixed(0)} ms`);
  });

  it('extension-apiserver-authentication keeps a removed CA until it is deleted', async () => {
    const { admin } = rollover.plane;
    assert.ok((await clientCas()).includes(oldCa.certificatePem.trim()));
    await admin.must({ method: 'DELETE', path: authentication });
    const after = await until('the ConfigMap', async () => (await clientCas()) || undefined);
    assert.equal(fingerprintsOf(after), fingerprintsOf(newCa.certificatePem));
  });

  it('an agent without a token creates no CSR after 401, and names what is missing', async () => {
    await using node = await absentNode(rollover, 'without-token', { hasBootstrap: false });
    const agent = node.start();
    const { code, error, remedy } = await agent.event('addresses_failed');
    assert.equal(code, 'API_UNAUTHORIZED');
    assert.match(
      String(error),
      /rejects the client certificate of this node, and .* does not exist/,
    );
    assert.match(String(remedy), /--client-ca-file.* nodecertd discover /);
    const found = await doctorReport('--config', node.configFile);
    const advice = findingOf(found, 'api-identity-refused').remedy ?? '';
    assert.ok(
      advice.includes(`add CN=kubernetes (${shortFingerprintOf(oldCa)}) to the file of`),
      advice,
    );
    await rollover.acceptClientsOf(oldCa, newCa);
    await agent.event('addresses_recovered');
    await rollover.acceptClientsOf(newCa);
    assert.deepEqual(agent.all('csr_created', 'kubelet-client'), []);
    assert.deepEqual(agent.all('identity_refused'), []);
  });

  it('with a token, the agent gets another client certificate after a 401', async () => {
    await using node = await absentNode(rollover, 'with-token');
    const kubeconfig = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
    const agent = node.start();
    await agent.event('identity_refused');
    await agent.event('certificate_stored', 'kubelet-client');
    await requireNewCa(node);
    assert.equal(await readFile(join(node.directory, 'kubelet.conf'), 'utf8'), kubeconfig);
    assert.equal(agent.all('csr_created', 'kubelet-client').length, 1);
  });

  it('an agent that trusts the old CA alone recovers by the command of doctor', async () => {
    await rollover.announce(newCa);
    await rollover.serve(newCa);
    await using node = await absentNode(rollover, 'without-bridge', { hasBootstrap: false });
    const agent = node.start();
    assert.equal((await agent.event('addresses_failed'))['code'], 'API_UNTRUSTED');
    const found = await doctorReport('--config', node.configFile);
    const { remedy = '' } = findingOf(found, 'trust-lost');
    const tokenFile = join(node.directory, 'token');
    await writeFile(tokenFile, bootstrapToken, { mode: 0o600 });
    const [, ...args] = rollover.discoverCommand(remedy, tokenFile);
    const ended = await nodecertd(...args);
    assert.equal(ended.code, 0, ended.stderr);
    await agent.event('certificate_stored', 'kubelet-client');
    await requireNewCa(node);
    const text = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
    assert.ok(text.includes(base64(rollover.bundle)), text);
    assert.equal(agent.all('csr_created', 'kubelet-client').length, 1);
  });

  async function requireNewCa(node: TestNode): Promise<void> {
    const { publicKey } = new X509Certificate(newCa.certificatePem);
    assert.ok((await node.read('kubelet-client')).verify(publicKey));
  }

  async function clientCas(): Promise<string> {
    const { body } = await rollover.plane.admin.request({ method: 'GET', path: authentication });
    const { data = {} } = body as { readonly data?: Readonly<Record<string, string>> };
    return data['client-ca-file'] ?? '';
  }

  async function csr(
    name: string,
  ): Promise<Awaited<ReturnType<typeof rollover.plane.csrs>>[number] | undefined> {
    return (await rollover.plane.csrs()).find((candidate) => candidate.name === name);
  }

  async function conditionsOf(name: string): Promise<readonly string[]> {
    return (await csr(name))?.conditions ?? [];
  }

  async function untilAccepted(ca: ClusterCa, seconds: number): Promise<void> {
    const pair = await ca.issue(probe);
    await until(
      'an accepted client',
      async () => (await rollover.statusFor(pair)) === 403,
      seconds,
    );
  }
});

const probe = { commonName: 'probe', organizations: [], usage: 'client auth' } as const;

const nodeLeaf = {
  commonName: `system:node:${nodeName}`,
  organizations: ['system:nodes'],
  usage: 'client auth',
} as const;

/** Of each certificate in a bundle, sorted. */
function fingerprintsOf(bundle: string): string {
  const parts = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return parts
    .map((pem) => new X509Certificate(pem).fingerprint256)
    .toSorted()
    .join();
}
