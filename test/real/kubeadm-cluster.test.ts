import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, globSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import {
  skipWithoutKubeadmCluster,
  startKubeadmCluster,
  staticPods,
} from '../support/kubeadm-cluster.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';

const podColumns =
  'jsonpath={range .items[*]}{.spec.nodeName} {.metadata.labels.component} {.status.phase}{"\\n"}{end}';

const skip = skipWithoutKubeadmCluster();

/** Two control planes, because etcd and the Lease of a renewal behave differently with one. */
describe('startKubeadmCluster()', { skip, timeout: 600_000 }, () => {
  let cluster: KubeadmCluster;

  before(async () => {
    cluster = await startKubeadmCluster({
      controlPlanes: 2,
      workers: 1,
      report: (line) => {
        steps.push(line);
      },
    });
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });
  const steps: string[] = [];

  it('makes every node Ready with the pods of its role', async (context) => {
    context.diagnostic(`up: ${steps.join(', ')}`);
    const pods = await cluster.kubectl('get', 'pods', '--all-namespaces', `--output=${podColumns}`);
    const expected = ['control-plane-1', 'control-plane-2'].flatMap((node) =>
      staticPods.map((component) => `${node} ${component} Running`),
    );
    assert.deepEqual(pods.trim().split('\n').toSorted(), expected);
  });

  it('makes both control planes members of etcd', async () => {
    const { container } = cluster.node('control-plane-2');
    const pki = '/etc/kubernetes/pki/etcd';
    const identity = [`--cert=${pki}/server.crt`, `--key=${pki}/server.key`];
    const client = ['etcdctl', `--cacert=${pki}/ca.crt`, ...identity];
    const members = await container.must(...client, 'member', 'list', '--write-out=simple');
    const lines = members.trim().split('\n');
    assert.deepEqual(lines.map((line) => line.split(', ').slice(1, 3).join(' ')).toSorted(), [
      'started control-plane-1',
      'started control-plane-2',
    ]);
  });

  it('gives a control plane the certificates of kubeadm', () => {
    const { container, address } = cluster.node('control-plane-2');
    const pki = container.path('/etc/kubernetes/pki');
    assert.deepEqual(globSync('**/*.crt', { cwd: pki }).toSorted(), [
      'apiserver-etcd-client.crt',
      'apiserver-kubelet-client.crt',
      'apiserver.crt',
      'ca.crt',
      'etcd/ca.crt',
      'etcd/healthcheck-client.crt',
      'etcd/peer.crt',
      'etcd/server.crt',
      'front-proxy-ca.crt',
      'front-proxy-client.crt',
    ]);
    const serving = new X509Certificate(readFileSync(`${pki}/apiserver.crt`));
    assert.equal(serving.checkIP(address), address);
  });

  it('pauses a node, and restarts one with its files', async () => {
    const { container } = cluster.node('worker-1');
    await container.pause();
    container.resume();
    await container.write('/opt/note', 'kept\n');
    await container.stop();
    assert.equal(await container.read('/opt/note'), 'kept\n');
    await container.start();
    assert.equal(await container.read('/opt/note'), 'kept\n');
  });

  it('leaves nothing after disposal', async () => {
    const { nodes } = cluster;
    const leaders = nodes.map(({ container }) => container.leader);
    const holders = [cluster.network, ...nodes.map(({ network }) => network)];
    const kinds = ['mnt', 'net', 'pid', 'cgroup'];
    const namespaces = new Set([
      ...leaders.flatMap((pid) => kinds.map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`))),
      ...holders.map(({ path }) => readlinkSync(path)),
    ]);
    const folders = nodes.map(({ container }) => container.name);
    await cluster[Symbol.asyncDispose]();

    assert.deepEqual(
      leaders.filter((pid) => existsSync(`/proc/${pid}`)),
      [],
    );
    assert.deepEqual(
      globSync('/proc/[0-9]*/ns/*').filter((file) => namespaces.has(target(file))),
      [],
    );
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    assert.deepEqual(
      [...folders, ...namespaces].filter((name) => mounts.includes(name)),
      [],
    );
    assert.deepEqual(
      folders.flatMap((name) => globSync(`/sys/fs/cgroup{,/*}/${name}`)),
      [],
    );
    assert.ok(!existsSync(cluster.directory));
  });
});

/** A process may end in between. */
function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}
