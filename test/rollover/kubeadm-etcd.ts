import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { requireRefused } from './applied-rollover.ts';
import { endClients, startClusterClients } from './cluster-clients.ts';
import { ApiWriter, MemberWatch } from './etcd-observers.ts';
import { copyFiles, mustApply, startTrustCluster } from './kubeadm-rollover.ts';
import { balancedConfiguration, LoadBalancer } from './load-balancer.ts';
import type { Report, Scenario } from './scenario.ts';

const etcd = ['--ca', 'etcd'] as const;

/**
 * Replaces the CA of etcd in a cluster with three members, while clients write through each API server and
 * use a load balancer.
 */
export const kubeadmEtcd: Scenario = {
  name: 'kubeadm-etcd',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, {
      controlPlanes: 3,
      workers: 1,
      configuration: balancedConfiguration,
    });
    const [first] = cluster.controlPlanes;
    assert.ok(first !== undefined);
    const oldCa = await first.container.read('/etc/kubernetes/pki/etcd/ca.crt');
    using balancer = await LoadBalancer.start(cluster);
    using watch = new MemberWatch(cluster);
    using writer = await ApiWriter.start(cluster);
    using clients = startClusterClients(cluster, balancer);
    const since = Date.now();
    const restartsSince = new Date(since).toISOString();
    await replaceEtcdCa(cluster, { watch, report, balancer });
    await requireWrites(cluster, writer, report);
    assert.deepEqual(await endClients(clients, { report, restartsSince }), []);
    requireMajority(watch, { report, since });
    await requireNewCa(cluster, oldCa);
  },
};

/** With three members, two of which are always healthy. Each node is out of the load balancer meanwhile. */
export async function replaceEtcdCa(
  cluster: KubeadmCluster,
  surroundings: Pick<RestartedStep, 'watch' | 'report' | 'balancer'>,
): Promise<void> {
  const [first, second] = cluster.controlPlanes;
  assert.ok(first !== undefined && second !== undefined);
  const { report } = surroundings;
  await mustApply(first, report, 'create', ...etcd);
  await copyFiles(first, cluster, ['etcd/ca-next.crt', 'etcd/ca-next.key']);
  await requireRefused(first, 'switch', ...etcd);
  await restarting(cluster, { ...surroundings, name: 'trust', restarts: 1 }, async (node) => {
    await mustApply(node, report, 'trust', ...etcd);
  });
  await restarting(cluster, { ...surroundings, name: 'switch', restarts: 0 }, async (node) => {
    if (node === second) {
      await requireRefused(first, 'finish', ...confirmed);
      await requireRefused(second, 'trust', '--undo', ...etcd);
    }
    await mustApply(node, report, 'switch', ...etcd);
  });
  await requireRefused(first, 'finish', ...etcd, '--old-key', 'keep');
  await restarting(cluster, { ...surroundings, name: 'finish', restarts: 1 }, async (node) => {
    await mustApply(node, report, 'finish', ...confirmed);
  });
}

const confirmed = [...etcd, '--clients-ok', '--old-key', 'destroy'] as const;

/**
 * Replaces the CA of etcd in a cluster with one member. Its restart stops all writes, so it needs the
 * flag. Undoes `switch`, and does it again.
 */
export const kubeadmEtcdSingle: Scenario = {
  name: 'kubeadm-etcd-single',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 0 });
    const [node] = cluster.controlPlanes;
    assert.ok(node !== undefined);
    const oldCa = await node.container.read('/etc/kubernetes/pki/etcd/ca.crt');
    using watch = new MemberWatch(cluster);
    using writer = await ApiWriter.start(cluster);
    await mustApply(node, report, 'create', ...etcd);
    await requireRefused(node, 'trust', ...etcd);
    await restarting(cluster, { watch, report, name: 'trust', restarts: 1 }, async () => {
      await mustApply(node, report, 'trust', ...accepted);
    });
    await restarting(cluster, { watch, report, name: 'switch', restarts: 0 }, async () => {
      await undoStep(node, report, { step: 'switch', options: etcd });
      await mustApply(node, report, 'switch', ...etcd);
    });
    await requireRefused(node, 'trust', '--undo', ...accepted);
    await restarting(cluster, { watch, report, name: 'finish', restarts: 1 }, async () => {
      const options = [...accepted, '--clients-ok', '--old-key', 'destroy'];
      await mustApply(node, report, 'finish', ...options);
    });
    await requireWrites(cluster, writer, report);
    await requireNewCa(cluster, oldCa);
  },
};

const accepted = [...etcd, '--accept-etcd-interruption'] as const;

/** Afterwards all files are as before the step, byte for byte. */
async function undoStep(
  node: KubeadmNode,
  report: Report,
  { step, options }: { readonly step: string; readonly options: readonly string[] },
): Promise<void> {
  const before = await filesOf(node);
  await mustApply(node, report, step, ...options);
  assert.notEqual(await filesOf(node), before);
  await mustApply(node, report, step, '--undo', ...options);
  assert.equal(await filesOf(node), before);
}

async function filesOf({ container }: KubeadmNode): Promise<string> {
  const files = 'find /etc/kubernetes -type f -not -path "*/.nodecertd*" | sort | xargs sha256sum';
  return container.must('bash', '-ec', files);
}

interface RestartedStep {
  readonly watch: MemberWatch;
  readonly report: Report;
  readonly name: string;
  /** Of etcd and of kube-apiserver on each node. */
  readonly restarts: number;
  /** Without the node during a step that restarts its components. */
  readonly balancer?: LoadBalancer;
}

/** Does a step on each node, and counts the restarts. */
async function restarting(
  cluster: KubeadmCluster,
  { watch, report, name, restarts, balancer }: RestartedStep,
  step: (node: KubeadmNode) => Promise<void>,
): Promise<void> {
  const began = Date.now();
  for (const node of cluster.controlPlanes) {
    if (restarts === 0 || balancer === undefined) await step(node);
    else await balancer.without(node, async () => step(node));
  }
  const found = watch.restartsSince(began);
  report(`restarts in ${name}: ${JSON.stringify(found)}`);
  const expected = cluster.controlPlanes.flatMap((node) =>
    ['etcd', 'kube-apiserver'].map((component) => [`${component} on ${node.name}`, restarts]),
  );
  assert.deepEqual(found, restarts === 0 ? {} : Object.fromEntries(expected));
}

/** Every acknowledged ConfigMap exists. */
export async function requireWrites(
  cluster: KubeadmCluster,
  writer: ApiWriter,
  report: Report,
): Promise<void> {
  const { acknowledged, failed, longestGapMs } = await writer.stop();
  report(`${acknowledged.length} acknowledged writes, ${failed} others`);
  report(`no API server acknowledged a write for at most ${longestGapMs} ms`);
  const list = ['get', 'configmaps', '--namespace', 'default', '--output', 'name'];
  const found = new Set((await cluster.kubectl(...list)).split('\n'));
  const lost = acknowledged.filter((name) => !found.has(`configmap/${name}`));
  assert.deepEqual(lost, []);
}

/**
 * Two members always ran, and two API servers were always ready. A member is not healthy while the
 * members elect a leader, which they do when the leader restarts.
 */
export function requireMajority(
  watch: MemberWatch,
  { report, since }: { readonly report: Report; readonly since: number },
): void {
  const ms = {
    elections: watch.msBelow(2, { component: 'etcd', since }),
    members: watch.msBelow(2, { component: 'etcd', since, states: ['healthy', 'unhealthy'] }),
    servers: watch.msBelow(2, { component: 'kube-apiserver', since }),
  };
  report(
    `fewer than two members of etcd had a leader for ${ms.elections} ms, and ran for ${ms.members} ms`,
  );
  report(`fewer than two API servers were ready for ${ms.servers} ms`);
  assert.deepEqual([ms.members, ms.servers], [0, 0]);
}

/** No file has the old CA, and kubeadm works with the new one. */
async function requireNewCa({ controlPlanes }: KubeadmCluster, oldCa: string): Promise<void> {
  const line = oldCa.split('\n')[5] ?? '';
  for (const { container } of controlPlanes) {
    const { stdout } = await container.run(
      'grep',
      '-rlF',
      line,
      '/etc/kubernetes',
      '/var/lib/kubelet/pki',
    );
    assert.equal(stdout, '');
    await container.must('kubeadm', 'certs', 'check-expiration');
    await container.must('kubeadm', 'certs', 'renew', 'all');
    await container.must(
      'bash',
      '-ec',
      'cd /etc/kubernetes/pki; ls etcd/ca*; openssl verify -CAfile etcd/ca.crt apiserver-etcd-client.crt etcd/server.crt etcd/peer.crt etcd/healthcheck-client.crt',
    );
    const files = await container.must('bash', '-ec', 'cd /etc/kubernetes/pki/etcd; echo ca*');
    assert.equal(files.trim(), 'ca.crt ca.key');
  }
}
