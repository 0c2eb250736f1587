import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { fingerprintOf } from '../support/agent.ts';
import type { ApiProber } from '../support/api-prober.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { pauseReference } from '../support/node-images.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import { startClusterClients } from './cluster-clients.ts';
import { useKubeadm } from './kubeadm-afterwards.ts';
import { NodeAgents } from './kubeadm-agents.ts';
import { manifestsOf } from './kubeadm-apply.ts';
import { copyFiles, mustApply, requireConnections, startTrustCluster } from './kubeadm-rollover.ts';
import { Leftovers } from './leftovers.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Replaces the CAs `kubernetes` and `front-proxy` with three control-plane nodes, an agent and a pod on
 * each node, and clients of each API server and each kubelet. No request fails, so every API server is
 * ready all the time. Afterwards the old CA is nowhere, and kubeadm works.
 */
export const kubeadmClients: Scenario = {
  name: 'kubeadm-clients',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 3, workers: 1 });
    const agents = await NodeAgents.start(cluster, report);
    const pods = await createPods(cluster);
    const old = await authoritiesOf(cluster);
    const [kubernetes, frontProxy] = old.map((pem) => new Leftovers(pem));
    assert.ok(kubernetes !== undefined && frontProxy !== undefined);
    const before = await manifestsOf(cluster);
    const servers = await serverStarts(cluster);
    const kubelets = await kubeletsOf(cluster);
    const gates = ['--pods-ok'];
    const rollover = await AppliedRollover.plan(cluster, report, { gates, agents });
    using prober = await startApiProber(cluster);
    using clients = startClusterClients(cluster);
    await rollover.create();
    await rollover.trust();
    assert.match(await requireRefused(rollover.first, 'switch'), /G4/);
    await rollover.union();
    await rollover.switch();
    await rollover.reissue();
    await requireConnections(prober, report);
    await rollover.finish();
    const droppable = Date.now();
    await replaceFrontProxy(cluster, report);
    await requireClients(clients, report);
    await rollover.requireGreen();
    assert.deepEqual(await serverStarts(cluster), servers);
    assert.deepEqual(await kubeletsOf(cluster), kubelets);
    assert.deepEqual(await containersOf(cluster), pods);
    assert.deepEqual(await manifestsOf(cluster), before);
    for (const [index, leftovers] of [kubernetes, frontProxy].entries()) {
      assert.deepEqual(await leftovers.inCluster(cluster), [], `old CA ${index}`);
    }
    report('no object, and no served certificate, is from an old CA');
    await requirePublished(cluster, rollover.first);
    await useKubeadm(cluster, report);
    await agents.drop(fingerprintOf(new X509Certificate(old[0])), droppable);
    for (const node of cluster.nodes) {
      assert.deepEqual(await kubernetes.onNode(node), []);
      assert.deepEqual(await frontProxy.onNode(node), []);
    }
    report('no file is from an old CA');
    await rollover.requireGreen();
  },
};

async function authoritiesOf({ controlPlanes }: KubeadmCluster): Promise<[string, string]> {
  const [first] = controlPlanes;
  assert.ok(first !== undefined);
  const read = async (name: string): Promise<string> =>
    first.container.read(`/etc/kubernetes/pki/${name}.crt`);
  return [await read('ca'), await read('front-proxy-ca')];
}

async function replaceFrontProxy(cluster: KubeadmCluster, report: Report): Promise<void> {
  const ca = ['--ca', 'front-proxy'];
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  await mustApply(first, report, 'create', ...ca);
  await copyFiles(first, cluster, ['front-proxy-ca-next.crt', 'front-proxy-ca-next.key']);
  for (const step of [['trust'], ['switch'], ['finish', '--old-key', 'destroy']]) {
    for (const node of cluster.controlPlanes) await mustApply(node, report, ...step, ...ca);
  }
}

/** Ends them: no request has failed. */
async function requireClients(clients: ApiProber, report: Report): Promise<void> {
  const { failures, requests, csrs = 0, longestWaitMs = 0 } = await clients.stop();
  const counts = `${requests} requests, ${csrs} new certificates, the slowest after ${longestWaitMs} ms`;
  report(`${counts}, ${failures.length} failed`);
  assert.deepEqual(failures, []);
}

/** When kube-apiserver and etcd started on each node. */
async function serverStarts(cluster: KubeadmCluster): Promise<string> {
  const selector = 'component in (kube-apiserver, etcd)';
  return containerStarts(cluster, ['--namespace=kube-system', `--selector=${selector}`]);
}

/** Their process IDs. */
async function kubeletsOf({ nodes }: KubeadmCluster): Promise<string[]> {
  return Promise.all(
    nodes.map(async ({ container }) => container.property('kubelet.service', 'MainPID')),
  );
}

async function containersOf(cluster: KubeadmCluster): Promise<string> {
  return containerStarts(cluster, ['--namespace=default']);
}

async function containerStarts(
  cluster: KubeadmCluster,
  chosen: readonly string[],
): Promise<string> {
  const columns =
    'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{"\\n"}{end}';
  return cluster.kubectl('get', 'pods', ...chosen, `--output=${columns}`);
}

/** One on each node, which never reads the CAs again. */
async function createPods(cluster: KubeadmCluster): Promise<string> {
  for (const { name } of cluster.nodes) {
    const overrides = {
      apiVersion: 'v1',
      spec: { nodeName: name, tolerations: [{ operator: 'Exists' }] },
    };
    const image = `--image=${pauseReference()}`;
    const options = [image, '--restart=Never', `--overrides=${JSON.stringify(overrides)}`];
    await cluster.kubectl('run', `pod-${name}`, ...options);
  }
  await cluster.kubectl('wait', '--for=condition=Ready', '--all', '--timeout=120s', 'pods');
  return containersOf(cluster);
}

/** The kubelet has written the new CA alone into the volume of each pod. */
async function requirePublished(cluster: KubeadmCluster, first: KubeadmNode): Promise<void> {
  const authority = await first.container.read('/etc/kubernetes/pki/ca.crt');
  const volumes = 'var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*/ca.crt';
  for (const { container } of cluster.nodes) {
    const path = container.path('/');
    // The kubelet writes it within 90 s.
    await container.until(
      'the new CA in the pod',
      async () => {
        const found = globSync(volumes, { cwd: path });
        const texts = found.map((file) => readFileSync(`${path}/${file}`, 'utf8'));
        return (texts.length > 0 && texts.every((text) => text === authority)) || undefined;
      },
      180_000,
    );
  }
}
