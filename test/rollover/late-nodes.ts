import assert from 'node:assert/strict';
import { NodeWatch } from '../support/node-watch.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import { until } from '../support/until.ts';
import { RolloverCluster } from './cluster.ts';
import type { RolloverNode } from './node.ts';
import { isAnswered } from './prober.ts';
import { trustKubeletsOfBoth } from './right-order.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Nodes that were off during the rollover come back when it is too late: first when the API server
 * no longer accepts clients of the old CA, then also without the bridge. `right-order` has a node that
 * comes back in time.
 */
export const lateNodes: Scenario = {
  name: 'late-nodes',
  isShort: false,
  async run(report) {
    const plan = { authority: 'file', trust: { reissueSpread: '1s', spread: '10s' } } as const;
    await using cluster = await RolloverCluster.start(plan, plan);
    const { rollover } = cluster;
    const [late, later] = [cluster.node(0), cluster.node(1)];
    await Promise.all(cluster.nodes.map(async (node) => node.adopt()));
    await later.removeBootstrap();
    await Promise.all(cluster.nodes.map(async ({ container }) => container.stop()));
    await trustKubeletsOfBoth(cluster);
    await rollover.trustBoth();
    await rollover.switchToNew();

    report('only the bridge is left: the node needs its bootstrap token');
    await rollover.acceptClientsOf(rollover.newCa);
    await late.container.start();
    await untilIdentity(cluster, late);
    assert.equal((await late.credentials()).caPem, rollover.bundle);
    await requireRecovery(cluster, late, report);
    assert.equal((await cluster.csrsOf(late)).byToken, 1);

    report('nothing is left: the node needs a person');
    await rollover.dropOld();
    await later.container.start();
    await runRemedy(cluster, later, report);
    await untilIdentity(cluster, later);
    await requireRecovery(cluster, later, report);
    assert.equal((await cluster.csrsOf(later)).byToken, 1);
  },
};

/** Runs the command of the finding, as an administrator who has a token and the hash of the new CA. */
async function runRemedy(
  { rollover }: RolloverCluster,
  node: RolloverNode,
  report: Report,
): Promise<void> {
  await node.event('addresses_failed');
  const remedy = await node.remedyOf('trust-lost');
  report(remedy);
  const tokenFile = '/run/token';
  await node.container.write(tokenFile, bootstrapToken, 0o600);
  report(await node.container.must(...rollover.discoverCommand(remedy, tokenFile)));
}

async function untilIdentity({ rollover }: RolloverCluster, node: RolloverNode): Promise<void> {
  await node.untilLeavesBy(rollover.newCa, ['kubelet-client']);
  // Instead of a wait of up to 15 minutes for the next check of the trust.
  await node.restartAgent();
}

async function requireRecovery(
  cluster: RolloverCluster,
  node: RolloverNode,
  report: Report,
): Promise<void> {
  const { rollover } = cluster;
  await node.untilLeavesBy(rollover.newCa);
  await using watch = new NodeWatch(rollover.plane.admin, node.name);
  await until('a Node that is Ready', () => watch.ready);
  for (const client of [
    cluster.nodeClient(node),
    cluster.kubeletClient(node),
    cluster.proxyClient(node),
  ]) {
    await until(client.name, async () => isAnswered(client), 120);
  }
  const requests = await cluster.csrsOf(node);
  report(`recovered: ${JSON.stringify(requests)}`);
  assert.ok(requests.client <= 2 && requests.serving <= 2);
}
