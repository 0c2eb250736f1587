import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover } from './applied-rollover.ts';
import { apply, mustApply, startTrustCluster } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Undoes *create*, *trust* and *switch* of `nodecertd ca-rollover apply` on two control-plane nodes: on one of
 * them, and then on the other. An undo that would cause an outage is refused, and changes nothing.
 */
export const kubeadmUndo: Scenario = {
  name: 'kubeadm-undo',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 2, workers: 0 });
    const rollover = await AppliedRollover.plan(cluster, report);
    const { first, nodes } = rollover;
    const [, second] = nodes;
    assert.ok(second !== undefined);
    const undone: UndoneCluster = { cluster, nodes: [first, second], report };
    await undoCreate(undone);
    await rollover.create();
    await undoStep(undone, 'trust', async () => {
      await refuseUndo(cluster, first, { step: 'create', reason: /ca\.crt has the new CA/ });
      const reason = /the cluster publishes the new CA/;
      await refuseUndo(cluster, second, { step: 'create', reason });
    });
    await rollover.trust();
    await rollover.union();
    await undoStep(undone, 'switch', async () => {
      const reason = /the new CA has issued certificates already/;
      for (const node of nodes) await refuseUndo(cluster, node, { step: 'trust', reason });
    });
  },
};

/**
 * The same for *finish*, until the key of the old CA is destroyed. The flags of kube-controller-manager
 * return to kubeadm-config with the undo on the last node.
 */
export const kubeadmUndoFinish: Scenario = {
  name: 'kubeadm-undo-finish',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 2, workers: 0 });
    const rollover = await AppliedRollover.plan(cluster, report);
    const { first, nodes } = rollover;
    const [, second] = nodes;
    assert.ok(second !== undefined);
    await rollover.create();
    await rollover.trust();
    await rollover.union();
    await rollover.switch();
    await rollover.restartServers();
    await rollover.reissue();
    await undoFinish({ cluster, nodes: [first, second], report });
    await withoutPreviousKey(first, async () => {
      const reason = /the key of the old CA is not on this node/;
      await refuseUndo(cluster, first, { step: 'switch', reason });
    });
    await rollover.finish();
    await rollover.requireGreen();
    const reason = /this node has no copies of a step/;
    for (const node of nodes) await refuseUndo(cluster, node, { step: 'finish', reason });
  },
};

interface UndoneCluster {
  readonly cluster: KubeadmCluster;
  readonly nodes: readonly [KubeadmNode, KubeadmNode];
  readonly report: Report;
}

async function undoCreate({ cluster, nodes: [first], report }: UndoneCluster): Promise<void> {
  const before = await stateOf(cluster);
  await mustApply(first, report, 'create');
  await mustApply(first, report, 'create', '--undo');
  assert.equal(await stateOf(cluster), before);
}

/**
 * After each undo, the files of the nodes and the objects are as before the step, byte for byte.
 * @param refuse what is refused while only the first node has done the step
 */
async function undoStep(
  { cluster, nodes: [first, second], report }: UndoneCluster,
  step: string,
  refuse: () => Promise<void>,
): Promise<void> {
  const before = await stateOf(cluster);
  await mustApply(first, report, step);
  const between = await stateOf(cluster);
  assert.notEqual(between, before);
  await refuse();
  await mustApply(second, report, step);
  assert.notEqual(await stateOf(cluster), between);
  await mustApply(second, report, step, '--undo');
  assert.equal(await stateOf(cluster), between);
  await mustApply(first, report, step, '--undo');
  assert.equal(await stateOf(cluster), before);
}

async function undoFinish({
  cluster,
  nodes: [first, second],
  report,
}: UndoneCluster): Promise<void> {
  const step = ['finish', '--clients-ok', '--old-key', 'keep'];
  const before = await stateOf(cluster);
  await mustApply(first, report, ...step);
  const between = await filesOf(cluster);
  await mustApply(second, report, ...step);
  assert.notEqual(await filesOf(cluster), between);
  await mustApply(second, report, 'finish', '--undo');
  assert.equal(await filesOf(cluster), between);
  await mustApply(first, report, 'finish', '--undo');
  assert.equal(await stateOf(cluster), before);
}

/** A digest of each file, and the objects that a rollover changes. */
async function stateOf(cluster: KubeadmCluster): Promise<string> {
  const [any] = cluster.controlPlanes;
  assert.ok(any !== undefined);
  const objects = await any.container.must('bash', '-ec', rolloverObjects);
  return `${await filesOf(cluster)}\n${objects}`;
}

async function filesOf({ controlPlanes }: KubeadmCluster): Promise<string> {
  const files = controlPlanes.map(({ container }) => container.must('bash', '-ec', digests));
  return (await Promise.all(files)).join('\n');
}

const digests = 'find /etc/kubernetes -type f -not -path "*/.nodecertd*" | sort | xargs sha256sum';

/** API servers add the CAs of clients to a ConfigMap in any order, and some time after a step. */
const rolloverObjects = `
for name in kube-system/kubeadm-config kube-public/cluster-info; do
  kubectl -n \${name%/*} get configmap \${name#*/} -o "jsonpath={.data.ClusterConfiguration}{.data.kubeconfig}"
done`;

async function refuseUndo(
  cluster: KubeadmCluster,
  node: KubeadmNode,
  { step, reason }: { readonly step: string; readonly reason: RegExp },
): Promise<void> {
  const before = await stateOf(cluster);
  const { code, stdout, stderr } = await apply(node, step, '--undo');
  assert.ok(code !== 0 && reason.test(stdout + stderr), `${step}: ${code} ${stdout}${stderr}`);
  assert.equal(await stateOf(cluster), before);
}

async function withoutPreviousKey(
  { container }: KubeadmNode,
  work: () => Promise<void>,
): Promise<void> {
  const key = '/etc/kubernetes/pki/ca-previous.key';
  await container.must('mv', key, '/run/');
  await work();
  await container.must('mv', '/run/ca-previous.key', key);
}
