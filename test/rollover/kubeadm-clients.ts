import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import type { ApiProber } from '../support/api-prober.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { pauseReference } from '../support/node-images.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import { startClusterClients } from './cluster-clients.ts';
import { requireConnections, startTrustCluster } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * A rollover with three control-plane nodes, a pod on each node, and clients of each API server and
 * each kubelet. No request fails, so every API server is ready all the time.
 */
export const kubeadmClients: Scenario = {
  name: 'kubeadm-clients',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 3, workers: 1 });
    const pods = await createPods(cluster);
    const servers = await serverStarts(cluster);
    const rollover = await AppliedRollover.plan(cluster, report, { gates: ['--pods-ok'] });
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
    await requireClients(clients, report);
    await rollover.requireGreen();
    assert.deepEqual(await serverStarts(cluster), servers);
    assert.deepEqual(await containersOf(cluster), pods);
    await requirePublished(cluster, rollover.first);
  },
};

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
    const overrides = { spec: { nodeName: name, tolerations: [{ operator: 'Exists' }] } };
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
