import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../src/core/instant.ts';
import type { TrustStage } from '../../src/core/trust.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { until } from '../support/until.ts';
import { dropSoon, dropSoonMs, reloadMs, RolloverCluster } from './cluster.ts';
import { requireGate, rolloverStatus } from './gates.ts';
import { bootstrapFile, caFile, kubeconfigFile, leafNames } from './node.ts';
import type { RolloverNode } from './node.ts';
import { Prober, requireAnswers } from './prober.ts';
import type { Report, Scenario } from './scenario.ts';

/** The kubelet rotates between 70% and 90% of it, which is some minutes after the switch. */
const rotatedMs = 15 * minute;

/** An agent that has stored a client certificate keeps a copy of the kubeconfig. */
const stateKubeconfig = '/var/lib/nodecertd/kubeconfig';

const trust = { spread: '10s', reissueSpread: '1s', ...dropSoon };

/**
 * A whole rollover with four kubelets, until no node trusts the old CA. Three are adopted: their
 * kubeconfig names a CA file, embedded the CA until nodecertd moved it, or embeds it. The fourth
 * rotates its certificates itself. Every agent is restarted in each stage.
 */
export const whole: Scenario = {
  name: 'whole',
  isShort: false,
  async run(report) {
    await using cluster = await RolloverCluster.start(
      { authority: 'file', trust },
      { authority: 'embedded', trust: { ...trust, externalize: true } },
      { authority: 'embedded', trust },
      {
        authority: 'embedded',
        trust: { ...trust, kubelet: 'none' },
        lifetimeMs: rotatedMs,
      },
    );
    const { nodes } = cluster;
    const [byFile, moved, embedded, rotating] = [0, 1, 2, 3].map((index) => cluster.node(index));
    assert.ok(byFile && moved && embedded && rotating);
    await each(nodes, async (node) => node.startAgent());
    await each(nodes, async (node) => node.untilStage('single'));
    await each([byFile, moved, embedded], async (node) => node.adopt());
    await each(nodes, async (node) => node.untilStage('single'));
    const before = await Promise.all(nodes.map(async (node) => node.kubeletPid()));
    const starts = await startsOf(nodes);
    const readySince = await cluster.readySince(byFile);
    const embeddedBefore = await embedded.read(kubeconfigFile);
    using prober = new Prober([
      cluster.adminClient(),
      ...nodes.map((node) => cluster.nodeClient(node)),
      cluster.kubeletClient(byFile),
      cluster.proxyClient(byFile),
    ]);

    const stage = { cluster, report, embedded, rotating };
    await trustBoth(stage);
    await switchToNew(stage);
    await finish(stage);

    await prober.stop();
    const { requests, failures } = prober;
    report(JSON.stringify({ requests, failures }));
    requireAnswers(prober, cluster.proxyClient(byFile).name);
    assert.deepEqual(
      (await startsOf(nodes)).map((count, index) => count - (starts[index] ?? 0)),
      [0, 0, 1, 1],
    );
    const after = await Promise.all(nodes.map(async (node) => node.kubeletPid()));
    assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
    assert.equal(await cluster.readySince(byFile), readySince);
    assert.equal(withoutCa(await embedded.read(kubeconfigFile)), withoutCa(embeddedBefore));
    await requireRequests(cluster);
    await rollBack(byFile, { cluster, report });
    await cutConnections(cluster, report);
  },
};

interface Stage {
  readonly cluster: RolloverCluster;
  readonly report: Report;
  /** nodecertd restarts its kubelet. */
  readonly embedded: RolloverNode;
  /** An administrator restarts its kubelet. */
  readonly rotating: RolloverNode;
}

async function trustBoth({ cluster, report, embedded, rotating }: Stage): Promise<void> {
  const { rollover, nodes } = cluster;
  const reloading = nodes.filter((node) => node !== rotating);
  report('the control plane trusts both CAs');
  await rollover.trustBoth();
  await each(nodes, async (node) => node.syncTrust());
  await requireStage([embedded], 'union');
  await requireStage(
    nodes.filter((node) => node !== embedded),
    'adding',
  );
  await settle(report);
  await each(nodes, async (node) => node.syncTrust());
  await requireStage(reloading, 'union');
  await requireStage([rotating], 'adding');
  requireGate(await rolloverStatus(rollover), 'G3', {
    state: 'waiting',
    reason: new RegExp(`^${rotating.name}$`),
  });
  const { code, stdout, stderr } = await rotating.nodecertd('trust', 'sync', '--restart');
  assert.equal(code, 0, stdout + stderr);
  await requireStage([rotating], 'union');
  const status = await rolloverStatus(rollover);
  for (const id of ['G1', 'G2', 'G3', 'G4'] as const) requireGate(status, id, { state: 'open' });
}

async function switchToNew({ cluster, report, rotating }: Stage): Promise<void> {
  const { rollover, nodes } = cluster;
  report('the control plane uses the new CA');
  await rollover.switchToNew();
  // At its start, the agent looks for the CA of the signer.
  await requireStage([rotating], 'reissuing');
  await each(
    nodes.filter((node) => node !== rotating),
    async (node) => node.restartAgent(),
  );
  // The kubelet that rotates by itself does so when its certificates are old enough.
  await each(nodes, async (node) =>
    node.untilLeavesBy(rollover.newCa, leafNames, rotatedMs / second),
  );
  await settle(report);
  await each(nodes, async (node) => node.syncTrust());
  await requireStage(nodes, 'reissued');
  const status = await rolloverStatus(rollover);
  for (const id of ['G5', 'G6', 'G7', 'G8'] as const) requireGate(status, id, { state: 'open' });
}

async function finish({ cluster, report }: Stage): Promise<void> {
  const { rollover, nodes } = cluster;
  report('nothing of the control plane trusts the old CA');
  await rollover.dropOld();
  await until('the published bundle', async () => {
    const bundles = await rollover.trustBundles();
    return bundles.join('').split('BEGIN CERTIFICATE').length === 2;
  });
  await each(nodes, async (node) => node.syncTrust());
  await requireStage(nodes, 'dropping');
  report('the nodes wait for trust.dropAfter');
  await delay(dropSoonMs);
  await requireStage(nodes, 'single');
  await each(nodes, async (node) => requireAlone(node, rollover.newCa));
  const status = await rolloverStatus(rollover);
  assert.equal(status.code, 0, status.text);
}

/** Every agent finds this stage after its restart, as before. */
async function requireStage(nodes: readonly RolloverNode[], stage: TrustStage): Promise<void> {
  await each(nodes, async (node) => {
    await node.restartAgent();
    await node.untilStage(stage);
  });
}

/** No other CA is in a file that the kubelet or the agent uses. */
async function requireAlone(node: RolloverNode, { certificatePem }: ClusterCa): Promise<void> {
  for (const file of [kubeconfigFile, bootstrapFile, stateKubeconfig]) {
    if (!(await node.container.has(file))) continue;
    assert.equal((await node.credentialsIn(file)).caPem, certificatePem, `${node.name} ${file}`);
  }
  assert.equal(await node.read(caFile), certificatePem);
}

/** An agent requests each certificate once, and none of a kubelet that rotates by itself. */
async function requireRequests(cluster: RolloverCluster): Promise<void> {
  const requests = await cluster.csrRequests();
  const counts = cluster.nodes.map(({ name }) =>
    requests.filter(
      ({ user, userAgent }) => user === `system:node:${name}` && userAgent.startsWith('nodecertd/'),
    ),
  );
  assert.deepEqual(
    counts.map(({ length }) => length),
    [2, 2, 2, 0],
  );
}

/** The restored CA stays, although the sources have lacked it for long. */
async function rollBack(
  node: RolloverNode,
  { cluster: { rollover }, report }: Pick<Stage, 'cluster' | 'report'>,
): Promise<void> {
  report('an administrator restores the old CA on one node');
  const { code, stdout, stderr } = await node.nodecertd('trust', 'rollback', '--yes');
  // The kubelet reads the file again within minutes.
  assert.equal(code, 3, stdout + stderr);
  const restored = new Set(rollover.bundle.split(/(?=-----BEGIN)/));
  const found = async (): Promise<Set<string>> =>
    new Set((await node.credentials()).caPem.split(/(?=-----BEGIN)/));
  assert.deepEqual(await found(), restored);
  await requireStage([node], 'adding');
  assert.deepEqual(await found(), restored);
}

/** Without their old connections, the kubelets depend on what they have read. */
async function cutConnections(cluster: RolloverCluster, report: Report): Promise<void> {
  report('every connection is cut');
  await cluster.rollover.plane.stopApi();
  await cluster.rollover.plane.startApi();
  await cluster.untilLeases(cluster.nodes, { since: Date.now(), seconds: 180 });
}

async function settle(report: Report): Promise<void> {
  report('every program reads its files again');
  await delay(reloadMs);
}

async function startsOf(nodes: readonly RolloverNode[]): Promise<number[]> {
  return Promise.all(nodes.map(async (node) => node.kubeletStarts()));
}

async function each(
  nodes: readonly RolloverNode[],
  work: (node: RolloverNode) => Promise<unknown>,
): Promise<void> {
  await Promise.all(nodes.map(work));
}

/** The value of the CA is on one line. */
function withoutCa(kubeconfig: string): string {
  return kubeconfig.replace(/(certificate-authority-data: ).*/, '$1');
}
