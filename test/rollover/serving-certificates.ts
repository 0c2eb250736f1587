import assert from 'node:assert/strict';
import { kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { second } from '../../src/core/instant.ts';
import { reloadMs, RolloverCluster } from './cluster.ts';
import { requireGate, rolloverStatus } from './gates.ts';
import { isAnswered, probeOnce } from './prober.ts';
import { until } from '../support/until.ts';
import type { RolloverNode } from './node.ts';
import type { Report, Scenario } from './scenario.ts';

const trust = { reissueSpread: '1s' };

/**
 * The API servers do not trust the new CA for kubelets yet, and the signer uses it already. The
 * first node holds its serving certificate back until they do. The second one requests it, first
 * without an approver, and then `kubectl logs` fails (W8).
 */
export const servingCertificates: Scenario = {
  name: 'serving-certificates',
  isShort: false,
  async run(report) {
    await using cluster = await RolloverCluster.start(
      { authority: 'file', trust: { ...trust, holdServing: true } },
      { authority: 'file', trust },
    );
    const { nodes } = cluster;
    await Promise.all(nodes.map(async (node) => node.adopt()));
    const [held, eager] = [cluster.node(0), cluster.node(1)];
    const stage = { cluster, report, held, eager };
    await switchTooEarly(stage);
    await approveServing(stage);
    await trustKubelets(stage);
  },
};

interface Stage {
  readonly cluster: RolloverCluster;
  readonly report: Report;
  readonly held: RolloverNode;
  readonly eager: RolloverNode;
}

async function switchTooEarly({ cluster, report, held, eager }: Stage): Promise<void> {
  const { rollover, nodes } = cluster;
  const { oldCa, newCa } = rollover;
  report('the control plane uses the new CA, and no CSR for a serving certificate is approved');
  await rollover.trustBoth();
  await rollover.acceptKubeletsOf(oldCa);
  await Promise.all(nodes.map(async (node) => node.syncTrust()));
  cluster.approvesServing = false;
  await rollover.switchToNew();
  await Promise.all(nodes.map(async (node) => node.restartAgent()));
  await Promise.all(nodes.map(async (node) => node.untilLeavesBy(newCa, ['kubelet-client'])));
  const csrs = async (): Promise<readonly string[]> =>
    (await rollover.plane.csrs())
      .filter(({ signerName }) => signerName === kubeletServingSigner)
      .map(({ username }) => username);
  await until('a CSR of the second node', async () => (await csrs()).length > 0);
  assert.deepEqual(await csrs(), [`system:node:${eager.name}`]);
  await Promise.all(nodes.map(async (node) => node.syncTrust()));
  const status = await rolloverStatus(rollover);
  for (const { name } of [held, eager]) {
    requireGate(status, 'G7', { state: 'waiting', reason: new RegExp(`^${name}$`) });
  }
  requireGate(status, 'G1', { state: 'waiting', reason: /--kubelet-certificate-authority/ });
  const { stdout } = await held.nodecertd('status');
  assert.match(stdout, /trust\.holdServing/);
}

async function approveServing({ cluster, report, held, eager }: Stage): Promise<void> {
  const { rollover } = cluster;
  report('W8: the CSR is approved, and the API server does not trust the new certificate');
  cluster.approvesServing = true;
  await eager.untilLeavesBy(rollover.newCa);
  await until('a kubelet that serves it', async () => {
    return !(await isAnswered(cluster.kubeletClient(eager)));
  });
  // The connections of the API server hide the fault until one of them is cut.
  await eager.container.must('systemctl', 'restart', 'kubelet.service');
  await until('a failed request', async () => {
    return !(await isAnswered(cluster.proxyClient(eager)));
  });
  assert.equal(await probeOnce(cluster.kubeletClient(held)), undefined);
  // With its renewed client certificate, the API server cuts its connections to all kubelets once.
  await until('a request that does not fail', async () => isAnswered(cluster.proxyClient(held)));
  const status = await rolloverStatus(rollover);
  assert.equal(status.code, 4, status.text);
  requireGate(status, 'G1', { state: 'harmful', reason: /--kubelet-certificate-authority/ });
}

async function trustKubelets({ cluster, report, held, eager }: Stage): Promise<void> {
  const { rollover } = cluster;
  const { oldCa, newCa } = rollover;
  report('the API server gets both CAs for kubelets');
  await rollover.acceptKubeletsOf(oldCa, newCa);
  const status = await rolloverStatus(rollover);
  requireGate(status, 'G1', { state: 'waiting', reason: /may use the previous content/ });
  const began = performance.now();
  await until(
    'the API server to reach the kubelet',
    async () => isAnswered(cluster.proxyClient(eager)),
    reloadMs / second,
  );
  report(`it reached the kubelet after ${((performance.now() - began) / second).toFixed(0)} s`);
  await until(
    'G1 to open',
    async () => (await rolloverStatus(rollover)).gates.get('G1')?.state === 'open',
    reloadMs / second,
  );
  assert.deepEqual(await held.leavesBy(oldCa), ['kubelet-server']);
  await held.reconfigure(trust);
  await held.untilLeavesBy(newCa);
  assert.equal(await probeOnce(cluster.proxyClient(held)), undefined);
  await Promise.all(cluster.nodes.map(async (node) => node.syncTrust()));
  requireGate(await rolloverStatus(rollover), 'G7', { state: 'open' });
}
