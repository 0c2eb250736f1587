import assert from 'node:assert/strict';
import { NodeWatch } from '../support/node-watch.ts';
import { until } from '../support/until.ts';
import { RolloverCluster } from './cluster.ts';
import { leafNames } from './node.ts';
import { Prober, probeOnce, requireAnswers } from './prober.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Two adopted kubelets whose kubeconfig names a CA file, until all certificates are by the new CA.
 * No request of or to the first one fails. The second one is off until then, knows only the old CA
 * when it comes back, and recovers alone: API servers serve the bridge and accept the old CA.
 */
export const rightOrder: Scenario = {
  name: 'right-order',
  isShort: true,
  async run(report) {
    const plan = { authority: 'file', trust: { reissueSpread: '1s' } } as const;
    await using cluster = await RolloverCluster.start(plan, plan);
    const [node, absent] = [cluster.node(0), cluster.node(1)];
    await Promise.all(cluster.nodes.map(async (one) => one.adopt()));
    await absent.container.stop();
    await trustKubeletsOfBoth(cluster);
    const pid = await node.kubeletPid();
    const proxy = cluster.proxyClient(node);
    using prober = new Prober([
      cluster.nodeClient(node),
      cluster.adminClient(),
      cluster.kubeletClient(node),
      proxy,
    ]);
    const ofAbsent = await replace(cluster, report);
    await prober.stop();
    report(JSON.stringify(prober.requests));
    requireAnswers(prober, proxy.name);
    assert.equal(await node.kubeletPid(), pid);
    assert.equal(ofAbsent, leafNames.length);
  },
};

/** kube-apiserver reads the file every five minutes, so an administrator waits; a restart is faster. */
export async function trustKubeletsOfBoth({ rollover }: RolloverCluster): Promise<void> {
  await rollover.acceptKubeletsOf(rollover.oldCa, rollover.newCa);
  await rollover.plane.stopApi();
  await rollover.plane.startApi();
}

/** @returns the number of CSRs of the absent node */
async function replace(cluster: RolloverCluster, report: Report): Promise<number> {
  const { rollover } = cluster;
  const { oldCa, newCa } = rollover;
  const [node, absent] = [cluster.node(0), cluster.node(1)];
  report('the control plane trusts both CAs');
  await rollover.trustBoth();
  report(`trust sync took ${Math.round(await node.syncTrust())} ms`);
  assert.equal((await node.credentials()).caPem, rollover.bundle);
  assert.deepEqual(await node.leavesBy(oldCa), leafNames);

  report('the control plane uses the new CA');
  await rollover.switchToNew();
  const since = Date.now();
  await Promise.all([node.restartAgent(), absent.container.start()]);
  await Promise.all(cluster.nodes.map(async (one) => one.untilLeavesBy(newCa)));
  assert.equal((await absent.credentials()).caPem, rollover.bundle);
  assert.equal(await probeOnce(cluster.nodeClient(absent)), undefined);
  await using watch = new NodeWatch(rollover.plane.admin, absent.name);
  await until('the Node that was off to be Ready', () => watch.ready);
  return (await cluster.csrRequests()).filter(
    ({ user, receivedAt }) => user === `system:node:${absent.name}` && receivedAt >= since,
  ).length;
}
