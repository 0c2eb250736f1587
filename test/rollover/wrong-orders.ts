import assert from 'node:assert/strict';
import { RolloverCluster } from './cluster.ts';
import { requireGate, rolloverStatus } from './gates.ts';
import { probeOnce } from './prober.ts';
import type { Scenario } from './scenario.ts';

/**
 * Each step too early, as an administrator may do it. `status` says at once that it does harm, names
 * what is affected, and is satisfied when the step is undone.
 */
export const wrongOrders: Scenario = {
  name: 'wrong-orders',
  isShort: true,
  async run(report) {
    await using cluster = await RolloverCluster.start({
      authority: 'file',
      trust: { reissueSpread: '1s' },
    });
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    const node = cluster.node(0);
    await node.adopt();
    await node.syncTrust();
    const before = await rolloverStatus(rollover);
    assert.equal(before.code, 0, before.text);
    await node.stopAgent();
    await rollover.trustBoth();

    report('W1: the API server serves a certificate of the new CA before the node trusts it');
    await rollover.serve(newCa);
    assert.notEqual(await probeOnce(cluster.nodeClient(node)), undefined);
    let status = await rolloverStatus(rollover);
    assert.equal(status.code, 4, status.text);
    requireGate(status, 'G3', { state: 'harmful', reason: /^worker-1$/ });
    await rollover.serve(oldCa);
    assert.equal(await probeOnce(cluster.nodeClient(node)), undefined);
    status = await rolloverStatus(rollover);
    assert.equal(status.code, 3, status.text);
    requireGate(status, 'G3', { state: 'waiting', reason: /^worker-1$/ });

    report('W7: the API server contacts a kubelet with a certificate of the new CA too early');
    await rollover.contactKubeletsWith(newCa);
    assert.equal(await probeOnce(cluster.kubeletClient(node)), 'status 401');
    status = await rolloverStatus(rollover);
    requireGate(status, 'G3', { state: 'harmful', reason: /^worker-1$/ });
    await rollover.contactKubeletsWith(oldCa);
    assert.equal(await probeOnce(cluster.kubeletClient(node)), undefined);

    report('W10: the API server serves a certificate of a CA that is not in cluster-info');
    await rollover.announce(oldCa);
    await rollover.serve(newCa);
    requireGate(await rolloverStatus(rollover), 'G2', { state: 'harmful', reason: /cluster-info/ });
    await rollover.announce(oldCa, newCa);
    await rollover.serve(oldCa);
    requireGate(await rolloverStatus(rollover), 'G2', { state: 'open' });

    report('W2: kube-controller-manager signs with a CA that the API server lacks');
    await node.startAgent();
    await node.syncTrust();
    await rollover.acceptClientsOf(oldCa);
    await rollover.signWith(newCa);
    status = await rolloverStatus(rollover);
    assert.equal(status.code, 4, status.text);
    requireGate(status, 'G1', { state: 'harmful' });
    const pair = (await node.leaf('kubelet-client')).fingerprint256;
    const { code, stdout, stderr } = await node.nodecertd('renew', 'kubelet-client', ...briefly);
    assert.notEqual(code, 0);
    assert.match(stdout + stderr, /CERT_UNTRUSTED/);
    assert.match(stdout + stderr, /--client-ca-file/);
    assert.equal((await node.leaf('kubelet-client')).fingerprint256, pair);
    await rollover.acceptClientsOf(oldCa, newCa);
    status = await rolloverStatus(rollover);
    assert.equal(status.code, 3, status.text);
    assert.equal((await node.nodecertd('renew', 'kubelet-client')).code, 0);

    report('W3: the API server rejects the old CA before the node has its new certificates');
    await rollover.identifyControllers(newCa, oldCa, newCa);
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    await rollover.acceptClientsOf(newCa);
    status = await rolloverStatus(rollover);
    assert.equal(status.code, 4, status.text);
    requireGate(status, 'G7', { state: 'harmful', reason: /worker-1/ });
    await rollover.acceptClientsOf(oldCa, newCa);
    status = await rolloverStatus(rollover);
    assert.equal(status.code, 3, status.text);
  },
};

const briefly = ['--timeout', '15s'];
