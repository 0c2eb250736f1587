import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { dropSoon, dropSoonMs, RolloverCluster } from './cluster.ts';
import type { RolloverNode } from './node.ts';
import { Prober, probeOnce } from './prober.ts';
import type { Scenario } from './scenario.ts';

/**
 * CAs that leave a node: one that it needs, by an administrator who insists, and one that it never
 * needed.
 */
export const droppedAuthorities: Scenario = {
  name: 'dropped-authorities',
  isShort: false,
  async run(report) {
    await using cluster = await RolloverCluster.start({
      authority: 'file',
      trust: dropSoon,
    });
    const { rollover } = cluster;
    const { oldCa } = rollover;
    const node = cluster.node(0);
    await node.adopt();
    const unrelated = await createClusterCa({ commonName: 'unrelated' });
    using prober = new Prober([cluster.nodeClient(node), cluster.adminClient()]);

    report('W5: the cluster publishes an unrelated CA beside its own');
    await rollover.publish(oldCa, unrelated);
    await node.syncTrust();
    assert.equal((await node.credentials()).caPem, oldCa.certificatePem + unrelated.certificatePem);
    assert.match(await findingsOf(node), /sources_differ/);

    report('the cluster publishes its own CA alone again');
    await rollover.publish(oldCa);
    await node.syncTrust();
    assert.match(await findingsOf(node), /ca_kept/);
    await prober.stop();
    assert.deepEqual(prober.failures, []);

    report('W4: an administrator drops the CA of the API server');
    await dropInUse({ cluster, node, unrelated });

    report('the node waits for trust.dropAfter');
    using later = new Prober([cluster.nodeClient(node), cluster.adminClient()]);
    await node.syncTrust();
    await delay(dropSoonMs);
    await node.restartAgent();
    await node.untilStage('single');
    assert.equal((await node.credentials()).caPem, oldCa.certificatePem);
    await later.stop();
    report(JSON.stringify(later.requests));
    assert.deepEqual(later.failures, []);
  },
};

interface Drop {
  readonly cluster: RolloverCluster;
  readonly node: RolloverNode;
  readonly unrelated: ClusterCa;
}

/** Refused; with --force, the node loses the API server until a rollback. */
async function dropInUse({ cluster, node, unrelated }: Drop): Promise<void> {
  const { oldCa } = cluster.rollover;
  const both = oldCa.certificatePem + unrelated.certificatePem;
  const refused = await node.dropTrust(oldCa);
  assert.equal(refused.code, 4, refused.stdout + refused.stderr);
  assert.match(refused.stdout, /the source has it/);
  assert.equal((await node.credentials()).caPem, both);
  await node.stopAgent();
  const forced = await node.dropTrust(oldCa, '--force');
  assert.equal(forced.code, 0, forced.stdout + forced.stderr);
  assert.equal((await node.credentials()).caPem, unrelated.certificatePem);
  assert.notEqual(await probeOnce(cluster.nodeClient(node)), undefined);
  const { code, stdout, stderr } = await node.nodecertd('trust', 'rollback', '--yes');
  assert.ok(code === 0 || code === 3, `exit code ${code}: ${stdout}${stderr}`);
  assert.equal((await node.credentials()).caPem, both);
  assert.equal(await probeOnce(cluster.nodeClient(node)), undefined);
  await node.startAgent();
}

async function findingsOf(node: RolloverNode): Promise<string> {
  const { stdout } = await node.nodecertd('trust', 'sync', '--output', 'json');
  const { findings } = JSON.parse(stdout) as { readonly findings: readonly { id: string }[] };
  return findings.map(({ id }) => id).join(' ');
}
