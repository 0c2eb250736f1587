import assert from 'node:assert/strict';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import {
  apply,
  mustApply,
  mustNodecertd,
  requireConsistent,
  startTrustCluster,
  syncNodes,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Undoes each step of `nodecertd ca-rollover apply` on a real control-plane node, and repairs the node
 * after kubeadm has written its files in the middle of a rollover.
 */
export const kubeadmUndo: Scenario = {
  name: 'kubeadm-undo',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 0 });
    const [node] = cluster.controlPlanes;
    assert.ok(node !== undefined);
    await mustApply(node, report, 'create');
    await undoStep(node, 'trust', report);
    await mustApply(node, report, 'trust');
    await refuseUndo(node, 'create');
    await upgrade(node, 'trust', report);
    await syncNodes(cluster);
    await mustNodecertd(node, ['ca-rollover', 'wait', '--for', 'union', '--timeout', '5m']);
    await undoStep(node, 'switch', report);
    await mustApply(node, report, 'switch');
    await refuseUndo(node, 'trust');
    await renewAll(node, report);
    await cluster.untilReady();
    await requireConsistent(node);
  },
};

/** The files and the object of the node are as before the step, byte for byte. */
async function undoStep(node: KubeadmNode, step: string, report: Report): Promise<void> {
  const before = await stateOf(node);
  await mustApply(node, report, step);
  assert.notEqual(await stateOf(node), before);
  await mustApply(node, report, step, '--undo');
  assert.equal(await stateOf(node), before);
}

async function stateOf({ container }: KubeadmNode): Promise<string> {
  const files = 'find /etc/kubernetes -type f -not -path "*/.nodecertd*" | sort | xargs sha256sum';
  const objects =
    'for name in kube-system/kubeadm-config kube-public/cluster-info; do kubectl --kubeconfig /etc/kubernetes/admin.conf -n ${name%/*} get configmap ${name#*/} -o "jsonpath={.data.ClusterConfiguration}{.data.kubeconfig}"; done';
  return container.must('bash', '-ec', `${files}; ${objects}`);
}

async function refuseUndo(node: KubeadmNode, step: string): Promise<void> {
  const { code, stdout, stderr } = await apply(node, step, '--undo');
  assert.ok(code !== 0, `${step} --undo: ${stdout}${stderr}`);
}

/** kubeadm writes the manifests again from kubeadm-config, which has the flags of the rollover. */
async function upgrade(node: KubeadmNode, step: string, report: Report): Promise<void> {
  await node.container.must('kubeadm', 'upgrade', 'node', 'phase', 'control-plane');
  const manifest = '/etc/kubernetes/manifests/kube-controller-manager.yaml';
  assert.match(await node.container.read(manifest), /--root-ca-file=.*ca-bundle\.crt/);
  report('kubeadm upgrade node phase control-plane');
  await mustApply(node, report, step);
}

/** kubeadm drops the bridge, and leaves one CA in the kubeconfigs. */
async function renewAll(node: KubeadmNode, report: Report): Promise<void> {
  const before = await bridgedCertificates(node);
  await node.container.must('kubeadm', 'certs', 'renew', 'all');
  assert.notEqual(await bridgedCertificates(node), before);
  report('kubeadm certs renew all');
  await mustApply(node, report, 'switch');
  assert.equal(await bridgedCertificates(node), before);
}

async function bridgedCertificates({ container }: KubeadmNode): Promise<string> {
  return container.must('grep', '--count', 'BEGIN', '/etc/kubernetes/pki/apiserver.crt');
}
