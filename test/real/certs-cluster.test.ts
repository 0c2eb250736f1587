import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';
import { skip as skipBecause } from '../support/programs.ts';

/** `nodecertd certs` on a cluster of kubeadm with two control planes, whose pods are real. */

const dist = join(import.meta.dirname, '../../dist');
const skip =
  skipWithoutKubeadmCluster() ||
  (existsSync(join(dist, 'nodecertd')) ? false : skipBecause('certs on a cluster: make build'));

interface Item {
  readonly name: string;
  readonly kind: string;
  readonly serial?: string;
  readonly state: string;
  readonly stateReason?: string;
  readonly verdict?: string;
  readonly usedBy: readonly { readonly component: string; readonly flag?: string }[];
}

let cluster: KubeadmCluster;
before(async () => {
  if (skip !== false) return;
  cluster = await startKubeadmCluster({
    controlPlanes: 2,
    workers: 0,
    mounts: { '/opt/nodecertd': dist },
  });
});
after(async () => {
  if (skip === false) await cluster[Symbol.asyncDispose]();
});

async function certs(
  { container }: KubeadmNode,
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return container.run('/opt/nodecertd/nodecertd', 'certs', ...args);
}

async function inventory(node: KubeadmNode): Promise<readonly Item[]> {
  const { stdout, stderr } = await certs(node, 'check-expiration', '-o', 'json');
  assert.equal(stderr, '');
  return (JSON.parse(stdout) as { readonly items: readonly Item[] }).items;
}

/** The serial numbers of the certificates of kubeadm on a node. */
async function serials(node: KubeadmNode): Promise<ReadonlyMap<string, string | undefined>> {
  const names = new Set(kubeadmCertificates.map(({ name }) => name));
  const items = await inventory(node);
  return new Map(
    items.filter(({ name }) => names.has(name)).map(({ name, serial }) => [name, serial]),
  );
}

describe('nodecertd certs on a kubeadm cluster', { skip }, () => {
  it('check-expiration agrees with kubeadm, and finds all that is served', async () => {
    for (const node of cluster.controlPlanes) {
      const { code, stdout } = await certs(node, 'check-expiration', '-o', 'kubeadm');
      const theirs = await node.container.must(
        'kubeadm',
        'certs',
        'check-expiration',
        '-o',
        'json',
      );
      const seconds = /"residualTime": -?\d+/g;
      assert.equal(stdout.replace(seconds, ''), theirs.replace(seconds, ''));
      assert.equal(code, 0, (await certs(node, 'check-expiration')).stdout);
      const served = (await inventory(node)).filter(({ kind }) => kind === 'served');
      const verdicts = served.map(({ name, verdict }) => `${name}: ${verdict}`);
      assert.deepEqual(verdicts.toSorted(), [
        'etcd-client: current',
        'etcd-peer: current',
        'kube-apiserver: current',
        'kube-apiserver: self-signed in memory',
        'kube-controller-manager: self-signed in memory',
        'kube-scheduler: self-signed in memory',
        'kubelet: current',
      ]);
    }
  });

  it('renew --all renews everything on each node, and no request to an API server fails', async () => {
    const prober = await startApiProber(cluster);
    for (const node of cluster.controlPlanes) {
      const previous = await serials(node);
      const { code, stdout, stderr } = await certs(node, 'renew', '--all', '--yes', '-o', 'json');
      assert.equal(stderr, '');
      const report = JSON.parse(stdout) as {
        readonly certificates: readonly { readonly name: string; readonly state: string }[];
        readonly restarts: readonly { readonly component: string; readonly tookMs: number }[];
      };
      assert.equal(code, 0, stdout);
      assert.deepEqual(
        report.restarts.map(({ component }) => component),
        ['kube-controller-manager', 'kube-scheduler'],
      );
      const now = await serials(node);
      for (const [name, serial] of previous) assert.notEqual(now.get(name), serial, name);
      assert.equal((await certs(node, 'verify')).code, 0);
    }
    const { failures, requests } = await prober.stop();
    assert.ok(requests > 50, `${requests} requests`);
    assert.deepEqual(failures, []);
    await cluster.untilReady();
  });

  it('the controllers of both nodes work with their new certificates', async () => {
    const image = '--image=none.test/none';
    const limit = `--timeout=${scaled(60)}s`;
    await cluster.kubectl('create', 'deployment', 'probe', image);
    const replicas = '--for=jsonpath={.status.replicas}=1';
    await cluster.kubectl('wait', replicas, 'deployment/probe', limit);
    // Control planes accept only Pods with this toleration.
    const spec = { tolerations: [{ operator: 'Exists' }] };
    const overrides = `--overrides=${JSON.stringify({ apiVersion: 'v1', spec })}`;
    await cluster.kubectl('run', 'scheduled', image, overrides);
    await cluster.kubectl('wait', '--for=condition=PodScheduled', 'pod/scheduled', limit);
  });

  it('rollback restores the files, and kubeadm accepts the tree', async () => {
    const [node] = cluster.controlPlanes;
    assert.ok(node);
    const renewed = await serials(node);
    const { code, stderr } = await certs(node, 'rollback', '--yes');
    assert.deepEqual([code, stderr], [0, '']);
    const restored = await serials(node);
    for (const [name, serial] of renewed) assert.notEqual(restored.get(name), serial, name);
    assert.equal((await certs(node, 'verify')).code, 0);
    await node.container.must('kubeadm', 'certs', 'check-expiration');
  });
});
