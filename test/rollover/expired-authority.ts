import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../src/core/instant.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { pinOf } from '../support/discovery-plane.ts';
import { scaled } from '../support/machine-speed.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import { bundleOf } from '../support/rollover-plane.ts';
import { reloadMs, RolloverCluster } from './cluster.ts';
import type { RolloverNode } from './node.ts';
import { leafNames } from './node.ts';
import { isAnswered, probeOnce } from './prober.ts';
import type { Report, Scenario } from './scenario.ts';

/** The nodes have to join before. */
const lifetimeMs = scaled(4 * minute);

const file = '/etc/nodecertd/cluster-ca.crt';

/**
 * The old CA expires before anyone has replaced it. A certificate with its key brings one node back
 * without the API server. The other node, which gets a CA with another key, has to discover the
 * cluster.
 */
export const expiredAuthority: Scenario = {
  name: 'expired-authority',
  isShort: false,
  async run(report) {
    const expiry = Date.now() + lifetimeMs;
    const oldCa = await createClusterCa({
      notBefore: new Date(Date.now() - 60 * minute),
      notAfter: new Date(expiry),
    });
    const plan = { authority: 'file', trust: { file } } as const;
    await using cluster = await RolloverCluster.startWith({ oldCa }, plan, plan);
    await Promise.all(cluster.nodes.map(async (node) => node.adopt()));
    const rest = expiry - Date.now();
    assert.ok(rest > 0, 'the CA has expired before the nodes have joined');
    report('the CA expires');
    await delay(rest + second);
    const [renewing, discovering] = [cluster.node(0), cluster.node(1)];
    assert.match((await probeOnce(cluster.nodeClient(renewing))) ?? '', /expired/);
    const renewed = await oldCa.renew();
    const stage = { cluster, report, renewed };
    await acceptSameKey(stage, renewing);
    await refuseOtherKey(stage, discovering);
    await discover(stage, discovering);
  },
};

interface Stage {
  readonly cluster: RolloverCluster;
  readonly report: Report;
  /** The same key as the old CA. */
  readonly renewed: ClusterCa;
}

async function acceptSameKey(stage: Stage, node: RolloverNode): Promise<void> {
  const { cluster, report, renewed } = stage;
  const { plane } = cluster.rollover;
  report('no API server answers, and the node gets the CA that was renewed with its key');
  await plane.stopApi();
  await node.container.write(file, renewed.certificatePem);
  await node.syncTrust();
  assert.equal((await node.credentials()).caPem, renewed.certificatePem);
  await renewControlPlane(stage);
  const began = Date.now();
  assert.equal(await probeOnce(cluster.nodeClient(node)), undefined);
  await cluster.untilLeases([node], { since: began, seconds: reloadMs / second });
  report(`the kubelet is back after ${((Date.now() - began) / second).toFixed(0)} s`);
  assert.deepEqual(await node.leavesBy(renewed), leafNames);
  const csrs = await plane.csrs();
  assert.deepEqual(
    csrs.filter(({ username }) => username === `system:node:${node.name}`),
    [],
  );
}

/** As an administrator does on the control plane. No other certificate changes. */
async function renewControlPlane({ cluster, renewed }: Stage): Promise<void> {
  const { rollover } = cluster;
  const { plane, newCa } = rollover;
  const caPem = renewed.certificatePem;
  await plane.replaceFiles({
    'client-ca.crt': caPem,
    'kubelet-ca.crt': caPem,
    'ca.crt': caPem,
    'signer.crt': caPem,
  });
  await rollover.identifyAdmin(renewed, renewed, newCa);
  await rollover.writeControllerIdentity(renewed, renewed, newCa);
  await plane.startApi();
  await rollover.announce(renewed);
}

async function refuseOtherKey({ cluster, report }: Stage, node: RolloverNode): Promise<void> {
  const { oldCa, newCa } = cluster.rollover;
  report('the other node gets a CA with another key');
  await node.container.write(file, newCa.certificatePem);
  const { code, stdout } = await node.nodecertd('trust', 'sync');
  assert.equal(code, 1, stdout);
  assert.match(stdout, /TRUST_REFUSED/);
  assert.equal((await node.credentials()).caPem, oldCa.certificatePem);
  await node.container.must('rm', file);
}

/** The cluster moves on to a CA with another key, for which the node needs a token and a hash. */
async function discover({ cluster, report, renewed }: Stage, node: RolloverNode): Promise<void> {
  report('the cluster gets a CA with another key, and the other node discovers the cluster');
  const { container } = node;
  const { rollover } = cluster;
  const { newCa, plane } = rollover;
  await plane.replaceFiles({ 'client-ca.crt': bundleOf(renewed, newCa) });
  await rollover.announce(newCa);
  await rollover.serve(newCa);
  assert.match(await node.remedyOf('cluster-ca-expired'), /nodecertd discover/);
  const tokenFile = '/run/token';
  await container.write(tokenFile, bootstrapToken, 0o600);
  const { host } = new URL(rollover.server);
  const hash = pinOf(newCa.certificatePem);
  const token = ['--token-file', tokenFile];
  const pin = ['--ca-cert-hash', hash];
  await container.must('nodecertd', 'discover', '--endpoint', host, ...token, ...pin, '--force');
  await node.restartAgent();
  await node.until('a verified API server', async () => isAnswered(cluster.nodeClient(node)));
}
