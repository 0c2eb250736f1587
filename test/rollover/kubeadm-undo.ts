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

/** A digest of each file, and the objects that a rollover changes. */
async function stateOf({ controlPlanes }: KubeadmCluster): Promise<string> {
  const [any] = controlPlanes;
  assert.ok(any !== undefined);
  const files = controlPlanes.map(({ container }) => container.must('bash', '-ec', digests));
  const objects = await any.container.must('bash', '-ec', rolloverObjects);
  return [...(await Promise.all(files)), objects].join('\n');
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
