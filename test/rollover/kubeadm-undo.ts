import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { mustNodecertd, nodecertd, startTrustCluster, syncNodes } from './kubeadm-rollover.ts';
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
    await apply(node, ['create'], report);
    await undoStep(node, 'trust', report);
    await apply(node, ['trust'], report);
    await refuseUndo(node, 'create');
    await upgrade(node, 'trust', report);
    await syncNodes(cluster);
    await mustNodecertd(node, ['ca-rollover', 'wait', '--for', 'union', '--timeout', '5m']);
    await undoStep(node, 'switch', report);
    await apply(node, ['switch'], report);
    await refuseUndo(node, 'trust');
    await renewAll(node, report);
    await requireSigner(cluster);
  },
};

/** The files and the object of the node are as before the step, byte for byte. */
async function undoStep(node: KubeadmNode, step: string, report: Report): Promise<void> {
  const before = await stateOf(node);
  await apply(node, [step], report);
  assert.notEqual(await stateOf(node), before);
  await apply(node, [step, '--undo'], report);
  assert.equal(await stateOf(node), before);
}

async function stateOf({ container }: KubeadmNode): Promise<string> {
  const files = 'find /etc/kubernetes -type f -not -path "*/.nodecertd*" | sort | xargs sha256sum';
  const objects =
    'for name in kube-system/kubeadm-config kube-public/cluster-info; do kubectl --kubeconfig /etc/kubernetes/admin.conf -n ${name%/*} get configmap ${name#*/} -o "jsonpath={.data.ClusterConfiguration}{.data.kubeconfig}"; done';
  return container.must('bash', '-ec', `${files}; ${objects}`);
}

async function apply(node: KubeadmNode, args: readonly string[], report: Report): Promise<void> {
  const began = performance.now();
  await mustNodecertd(node, ['ca-rollover', 'apply', ...args, '--ca', 'kubernetes', '--yes']);
  report(`${args.join(' ')}: ${((performance.now() - began) / 1_000).toFixed(1)} s`);
}

async function refuseUndo(node: KubeadmNode, step: string): Promise<void> {
  const args = ['ca-rollover', 'apply', step, '--undo', '--ca', 'kubernetes', '--yes'];
  const { code, stdout, stderr } = await nodecertd(node, args);
  assert.ok(code !== 0, `${step} --undo: ${stdout}${stderr}`);
}

/** kubeadm writes the manifests again from kubeadm-config, which has the flags of the rollover. */
async function upgrade(node: KubeadmNode, step: string, report: Report): Promise<void> {
  await node.container.must('kubeadm', 'upgrade', 'node', 'phase', 'control-plane');
  const manifest = '/etc/kubernetes/manifests/kube-controller-manager.yaml';
  assert.match(await node.container.read(manifest), /--root-ca-file=.*ca-bundle\.crt/);
  report('kubeadm upgrade node phase control-plane');
  await apply(node, [step], report);
}

/** kubeadm drops the bridge, and leaves one CA in the kubeconfigs. */
async function renewAll(node: KubeadmNode, report: Report): Promise<void> {
  const before = await bridgedCertificates(node);
  await node.container.must('kubeadm', 'certs', 'renew', 'all');
  assert.notEqual(await bridgedCertificates(node), before);
  report('kubeadm certs renew all');
  await apply(node, ['switch'], report);
  assert.equal(await bridgedCertificates(node), before);
}

async function bridgedCertificates({ container }: KubeadmNode): Promise<string> {
  return container.must('grep', '--count', 'BEGIN', '/etc/kubernetes/pki/apiserver.crt');
}

/** The signer works after all of this. */
async function requireSigner(cluster: KubeadmCluster): Promise<void> {
  await cluster.untilReady();
  const [node] = cluster.controlPlanes;
  const { stdout, code } = await nodecertd(node ?? assert.fail(), ['ca-rollover', 'verify']);
  assert.ok([0, 3].includes(code), stdout);
}
