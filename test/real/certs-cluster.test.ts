import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import { renew } from '../../src/pki/renewal/renewal.ts';
import { optionsFor, requestFor } from '../pki/renewal/renewal-tree.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';
import { runningContainers } from '../support/node-containers.ts';
import type { Container } from '../support/nspawn.ts';
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
    using prober = await startApiProber(cluster);
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

it('a controller-manager outlives its old certificate after a restart, and only then', async () => {
  const [restarted, neglected] = cluster.controlPlanes;
  assert.ok(restarted && neglected);
  const lifetime = scaled(100) * second;
  for (const { container } of [restarted, neglected]) {
    await shorten(container, lifetime);
    await container.must('sh', '-c', `crictl stop $(crictl ps --quiet --name ${manager})`);
  }
  const end = Date.now() + lifetime;
  await Promise.all([restarted, neglected].map(untilRunning));
  const old = await untilRunning(neglected);
  const args = ['renew', 'controller-manager.conf', '--lifetime', '1y', '--yes'];
  const [renewed, unused] = await Promise.all([
    certs(restarted, ...args),
    certs(neglected, ...args, '--restart', 'never'),
  ]);
  assert.deepEqual([renewed.code, renewed.stderr, unused.code], [0, '', 3]);
  const id = await untilRunning(restarted);
  assert.ok(Date.now() < end, 'the old certificates expired before the renewal');
  await neglected.container.until(
    'requests with an expired certificate',
    async () => (await logOf(neglected, old)).includes('Unauthorized') || undefined,
    end - Date.now() + scaled(30_000),
  );
  // If the other one was the leader, it has lost the Lease.
  await restarted.container.until(
    'a Lease that the restarted controller-manager renews',
    async () => {
      const [holder = '', renewTime = ''] = (await lease()).split(' ');
      const isLater = Date.parse(renewTime) > end + 5 * second;
      return (holder.startsWith(`${restarted.name}_`) && isLater) || undefined;
    },
    scaled(60_000),
  );
  assert.equal(await untilRunning(restarted), id);
  assert.doesNotMatch(await logOf(restarted, id), /Unauthorized/);
});

const manager = 'kube-controller-manager';

/** Gives the controller-manager a certificate for its next start that expires soon. */
async function shorten(container: Container, ms: number): Promise<void> {
  // The command issues for 10 minutes at least, so this process issues, in copies of the files.
  const kubernetes = await mkdtemp(join(cluster.directory, 'short-'));
  const certificates = join(kubernetes, 'pki');
  await mkdir(certificates);
  const name = 'controller-manager.conf';
  for (const file of [name, 'pki/ca.crt', 'pki/ca.key']) {
    await writeFile(join(kubernetes, file), await container.read(`/etc/kubernetes/${file}`));
  }
  const options = optionsFor({ selection: [name], lifetime: { kind: 'duration', ms } });
  const request = requestFor({ kubernetes, certificates });
  const { result } = await renew(request, { ...options, describe: () => ({}), endpoints: [] });
  assert.equal(result.renewed.length, 1);
  const text = await readFile(join(kubernetes, name), 'utf8');
  await container.write(`/etc/kubernetes/${name}`, text, 0o600);
}

/** The container of the controller-manager that runs. */
async function untilRunning({ container }: KubeadmNode): Promise<string> {
  return container.until(`a running ${manager}`, async () => {
    const running = await runningContainers(container);
    return running.find(({ component }) => component === manager)?.id;
  });
}

async function logOf({ container }: KubeadmNode, id: string): Promise<string> {
  const { stdout, stderr } = await container.run('crictl', 'logs', id);
  return `${stdout}${stderr}`;
}

/** The holder, and when it has renewed the Lease. */
async function lease(): Promise<string> {
  const path = '--output=jsonpath={.spec.holderIdentity} {.spec.renewTime}';
  return cluster.kubectl('get', 'lease', '--namespace=kube-system', manager, path);
}
