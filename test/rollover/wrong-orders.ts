import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { minute } from '../../src/core/instant.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { submitNodeCsr } from '../support/node-csr.ts';
import { shortFingerprintOf } from '../support/rollover-plane.ts';
import { until } from '../support/until.ts';
import { RolloverCluster } from './cluster.ts';
import type { RolloverStatus } from './gates.ts';
import { requireGate, rolloverStatus } from './gates.ts';
import { probeOnce } from './prober.ts';
import type { Scenario } from './scenario.ts';

/**
 * Each step too early, as an administrator may do it. `status` says at once that it does harm, names
 * what is affected, and is satisfied when the step is undone. The node changes nothing.
 */
export const wrongOrders: Scenario = {
  name: 'wrong-orders',
  isShort: true,
  async run(report) {
    await using cluster = await RolloverCluster.start({
      authority: 'file',
      trust: { reissueSpread: '1s' },
    });
    const node = cluster.node(0);
    await node.adopt();
    await node.syncTrust();
    await requireCode(cluster, 0);
    await node.stopAgent();
    await cluster.rollover.trustBoth();
    for (const [mistake, make] of Object.entries(mistakes)) {
      report(mistake);
      await make(cluster);
    }
  },
};

type Mistake = (cluster: RolloverCluster) => Promise<void>;

/** In this order. The node trusts both CAs after the first three. */
const mistakes: Readonly<Record<string, Mistake>> = {
  'W1: the API server serves a certificate of the new CA before the node trusts it': async (
    cluster,
  ) => {
    const { rollover } = cluster;
    const client = cluster.nodeClient(cluster.node(0));
    await rollover.serve(rollover.newCa);
    assert.notEqual(await probeOnce(client), undefined);
    const status = await requireCode(cluster, 4);
    requireGate(status, 'G3', { state: 'harmful', reason: /^worker-1$/ });
    await rollover.serve(rollover.oldCa);
    assert.equal(await probeOnce(client), undefined);
    requireGate(await requireCode(cluster, 3), 'G3', { state: 'waiting', reason: /^worker-1$/ });
  },

  'W7: the API server contacts a kubelet with a certificate of the new CA too early': async (
    cluster,
  ) => {
    const { rollover } = cluster;
    const client = cluster.kubeletClient(cluster.node(0));
    await rollover.contactKubeletsWith(rollover.newCa);
    assert.equal(await probeOnce(client), 'status 401');
    requireGate(await requireCode(cluster, 4), 'G3', { state: 'harmful', reason: /^worker-1$/ });
    await rollover.contactKubeletsWith(rollover.oldCa);
    assert.equal(await probeOnce(client), undefined);
  },

  'W10: the API server serves a certificate of a CA that is not in cluster-info': async (
    cluster,
  ) => {
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    await rollover.announce(oldCa);
    await rollover.serve(newCa);
    requireGate(await requireCode(cluster, 4), 'G2', { state: 'harmful', reason: /cluster-info/ });
    await rollover.announce(oldCa, newCa);
    await rollover.serve(oldCa);
    requireGate(await requireCode(cluster, 3), 'G2', { state: 'open' });
  },

  'W1 on the agent: it waits, and recovers when the step is undone': async (cluster) => {
    const { rollover } = cluster;
    const { oldCa, newCa, plane } = rollover;
    const node = cluster.node(0);
    await rollover.serve(newCa);
    await node.startAgent();
    const { code, error = '' } = await node.event('addresses_failed');
    assert.equal(code, 'API_UNTRUSTED');
    const served = await readFile(join(plane.directory, 'apiserver.crt'), 'utf8');
    for (const certificatePem of [served, oldCa.certificatePem]) {
      assert.ok(error.includes(shortFingerprintOf({ certificatePem })), error);
    }
    assert.match(await node.remedyOf('trust-lost'), /nodecertd discover/);
    await rollover.serve(oldCa);
    await node.event('addresses_recovered');
    await node.stopAgent();
  },

  'W4: the node drops the CA of the API server': async (cluster) => {
    const { rollover } = cluster;
    const node = cluster.node(0);
    await node.syncTrust();
    const { code, stdout, stderr } = await node.dropTrust(rollover.oldCa);
    assert.equal(code, 4, stdout + stderr);
    assert.equal((await node.credentials()).caPem, rollover.bundle);
  },

  'W5: the cluster publishes an unrelated CA alone': async (cluster) => {
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    const node = cluster.node(0);
    const unrelated = await createClusterCa({ commonName: 'unrelated' });
    await rollover.publish(unrelated);
    await rollover.announce(unrelated);
    const { code, stdout } = await node.nodecertd('trust', 'sync');
    assert.equal(code, 1, stdout);
    assert.match(stdout, /TRUST_REFUSED/);
    assert.equal((await node.credentials()).caPem, rollover.bundle);
    await rollover.publish(oldCa, newCa);
    await rollover.announce(oldCa, newCa);
  },

  'W3: the API server rejects the old CA before the node has its new certificates': async (
    cluster,
  ) => {
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    const node = cluster.node(0);
    await rollover.identifyControllers(newCa, oldCa, newCa);
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    await rollover.acceptClientsOf(newCa);
    requireGate(await requireCode(cluster, 4), 'G7', { state: 'harmful', reason: /worker-1/ });
    await node.removeBootstrap();
    await node.startAgent();
    assert.equal((await node.event('addresses_failed')).code, 'API_UNAUTHORIZED');
    const remedy = await node.remedyOf('api-identity-refused');
    assert.ok(
      remedy.includes(`add CN=kubernetes (${shortFingerprintOf(oldCa)}) to the file of`),
      remedy,
    );
    assert.match(remedy, /--client-ca-file/);
    await rollover.acceptClientsOf(oldCa, newCa);
    await node.event('addresses_recovered');
    assert.deepEqual(await cluster.csrsOf(node), { client: 0, serving: 0, byToken: 0 });
    await node.stopAgent();
    await rollover.identifyAdmin(oldCa, oldCa, newCa);
    await rollover.identifyControllers(oldCa, oldCa, newCa);
    await requireCode(cluster, 3);
  },

  'W2: kube-controller-manager signs with a CA that the API server lacks': async (cluster) => {
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    const node = cluster.node(0);
    await node.startAgent();
    await rollover.acceptClientsOf(oldCa);
    await rollover.signWith(newCa);
    requireGate(await requireCode(cluster, 4), 'G1', { state: 'harmful' });
    const pair = (await node.leaf('kubelet-client')).fingerprint256;
    const { code, stdout, stderr } = await node.nodecertd('renew', 'kubelet-client', ...briefly);
    assert.equal(code, 1);
    assert.match(stdout + stderr, /CERT_UNTRUSTED[^]*--client-ca-file/);
    assert.equal((await node.leaf('kubelet-client')).fingerprint256, pair);
    await rollover.acceptClientsOf(oldCa, newCa);
    await requireCode(cluster, 3);
    assert.equal((await node.nodecertd('renew', 'kubelet-client')).code, 0);
  },

  'W9: the API server lacks the CA of the certificate of kube-controller-manager': async (
    cluster,
  ) => {
    const { rollover } = cluster;
    const { oldCa, newCa, plane } = rollover;
    await rollover.writeControllerIdentity(newCa, oldCa, newCa);
    await rollover.acceptClientsOf(oldCa);
    await plane.startControllers();
    await using self = plane.clientAs('system:node:worker-1', ['system:nodes']);
    const name = 'silent';
    await submitNodeCsr(self, { name, nodeName: 'worker-1', usage: 'client auth' });
    // Instead of a wait of five minutes.
    await rollover.approveAt(name, new Date(Date.now() - 10 * minute));
    const status = await requireCode(cluster, 4);
    requireGate(status, 'G1', { state: 'harmful' });
    requireGate(status, 'G5', { state: 'harmful', reason: /^silent$/ });
    await rollover.acceptClientsOf(oldCa, newCa);
    await until('the certificate', async () => {
      return (await plane.csrs()).find((csr) => csr.name === name)?.issued;
    });
    await requireCode(cluster, 3);
  },
};

async function requireCode({ rollover }: RolloverCluster, code: number): Promise<RolloverStatus> {
  const status = await rolloverStatus(rollover);
  assert.equal(status.code, code, status.text);
  return status;
}

const briefly = ['--timeout', '15s'];
