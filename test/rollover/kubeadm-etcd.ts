import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { ApiWriter, MemberWatch } from './etcd-observers.ts';
import { apply, mustApply, startTrustCluster } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

const etcd = ['--ca', 'etcd'] as const;

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
    await requireRefused(node, report, 'trust', ...etcd);
    await restarting(cluster, { watch, report, name: 'trust', restarts: 1 }, async () => {
      await mustApply(node, report, 'trust', ...accepted);
    });
    const before = await filesOf(node);
    await restarting(cluster, { watch, report, name: 'switch', restarts: 0 }, async () => {
      await mustApply(node, report, 'switch', ...etcd);
      await undoStep(node, report, { step: 'switch', before });
      await mustApply(node, report, 'switch', ...etcd);
    });
    await requireRefused(node, report, 'trust', '--undo', ...accepted);
    await restarting(cluster, { watch, report, name: 'finish', restarts: 1 }, async () => {
      const options = [...accepted, '--clients-ok', '--old-key', 'destroy'];
      await mustApply(node, report, 'finish', ...options);
    });
    await requireWrites(cluster, writer, report);
    await requireNewCa(cluster, oldCa);
  },
};

const accepted = [...etcd, '--accept-etcd-interruption'] as const;

/** All files are as before the step, byte for byte. */
async function undoStep(
  node: KubeadmNode,
  report: Report,
  { step, before }: { readonly step: string; readonly before: string },
): Promise<void> {
  assert.notEqual(await filesOf(node), before);
  await mustApply(node, report, step, '--undo', ...etcd);
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
}

/** Does a step on each node, and counts the restarts. */
async function restarting(
  cluster: KubeadmCluster,
  { watch, report, name, restarts }: RestartedStep,
  step: (node: KubeadmNode) => Promise<void>,
): Promise<void> {
  const began = Date.now();
  for (const node of cluster.controlPlanes) await step(node);
  const found = watch.restartsSince(began);
  report(`restarts in ${name}: ${JSON.stringify(found)}`);
  const expected = cluster.controlPlanes.flatMap((node) =>
    ['etcd', 'kube-apiserver'].map((component) => [`${component} on ${node.name}`, restarts]),
  );
  assert.deepEqual(found, restarts === 0 ? {} : Object.fromEntries(expected));
}

/** Also with --yes. */
async function requireRefused(
  node: KubeadmNode,
  report: Report,
  ...step: readonly string[]
): Promise<void> {
  const { code, stdout, stderr } = await apply(node, ...step);
  assert.ok([3, 4].includes(code), `${step.join(' ')} on ${node.name}: ${code} ${stdout}${stderr}`);
  report(`${step.join(' ')} on ${node.name} was refused`);
}

/** Every acknowledged ConfigMap exists. */
async function requireWrites(
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
