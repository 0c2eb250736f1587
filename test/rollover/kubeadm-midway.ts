import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover } from './applied-rollover.ts';
import { joinControlPlane, joinWorker } from './kubeadm-afterwards.ts';
import {
  copyFiles,
  mustApply,
  requireConsistent,
  startTrustCluster,
  timed,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * What kubeadm does in the middle of a rollover: it writes the manifests again, adds nodes, and renews
 * certificates. Then files of the control plane are restored from a backup. `apply` repairs the node.
 */
export const kubeadmMidway: Scenario = {
  name: 'kubeadm-midway',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 0 });
    const [first] = cluster.controlPlanes;
    assert.ok(first !== undefined);
    await backUp(first);
    await mustApply(first, report, 'create');
    await mustApply(first, report, 'trust');
    await upgrade(first, 'trust', report);
    const run: Midway = { cluster, first, report };
    await timed('join of a worker', report, async () => joinWorker(cluster, first));
    await timed('join of a control-plane node', report, async () => addControlPlane(run));

    const rollover = await AppliedRollover.plan(cluster, report);
    await rollover.union();
    await rollover.switch();
    await timed('join of another worker', report, async () => joinWorker(cluster, first));
    for (const node of rollover.nodes) await renewAll(node, report);
    await upgrade(first, 'switch', report);
    await resetManifest(run);
    for (const node of rollover.nodes.toReversed()) await restoreBackup(node, run);
  },
};

interface Midway {
  readonly cluster: KubeadmCluster;
  readonly first: KubeadmNode;
  readonly report: Report;
}

/** kubeadm writes the manifests again from kubeadm-config, which has the flags of the rollover. */
async function upgrade(node: KubeadmNode, step: string, report: Report): Promise<void> {
  await node.container.must('kubeadm', 'upgrade', 'node', 'phase', 'control-plane');
  assert.match(await node.container.read(managerManifest), /--root-ca-file=.*ca-bundle\.crt/);
  report('kubeadm upgrade node phase control-plane');
  await mustApply(node, report, step);
}

const managerManifest = '/etc/kubernetes/manifests/kube-controller-manager.yaml';

const pki = '/etc/kubernetes/pki';

/** The flags in kubeadm-config name files that kubeadm does not copy. */
async function addControlPlane({ cluster, first, report }: Midway): Promise<void> {
  const node = await joinControlPlane(cluster, first, async ({ container }) => {
    await container.must('mkdir', '-p', pki);
    await copyFiles(first, cluster, files);
  });
  await mustApply(node, report, 'trust');
}

const files = [
  'ca-signing.crt',
  'ca-signing.key',
  'ca-bundle.crt',
  'ca-next.crt',
  'ca-next.key',
  'ca-bridge.crt',
];

/** kubeadm drops the bridge, and leaves one CA in the kubeconfigs. */
async function renewAll(node: KubeadmNode, report: Report): Promise<void> {
  const before = await bridgedCertificates(node);
  await node.container.must('kubeadm', 'certs', 'renew', 'all');
  assert.notEqual(await bridgedCertificates(node), before);
  report('kubeadm certs renew all');
  await mustApply(node, report, 'switch');
  assert.equal(await bridgedCertificates(node), before);
  await requireConsistent(node);
}

async function bridgedCertificates({ container }: KubeadmNode): Promise<string> {
  return container.must('grep', '--count', 'BEGIN', '/etc/kubernetes/pki/apiserver.crt');
}

/** A template writes the flags of kubeadm into the manifest, so kube-controller-manager signs nothing. */
async function resetManifest(run: Midway): Promise<void> {
  const flags = 's#/pki/ca-signing\\.#/pki/ca.#; s#/pki/ca-bundle\\.#/pki/ca.#';
  await run.first.container.must('sed', '-i', flags, managerManifest);
  run.report('the manifest of kube-controller-manager is reset');
  await repair(run.first, run);
}

const backup = '/run/backup';

async function backUp({ container }: KubeadmNode): Promise<void> {
  await container.must('bash', '-ec', `mkdir -m 700 ${backup}; cp -p ${pki}/ca.* ${backup}`);
}

/** The old CA alone, so kube-apiserver of this node rejects the administrator. */
async function restoreBackup(node: KubeadmNode, run: Midway): Promise<void> {
  for (const name of ['ca.key', 'ca.crt']) {
    const text = await run.first.container.read(`${backup}/${name}`);
    await node.container.write(`${pki}/${name}`, text, name === 'ca.key' ? 0o600 : 0o644);
  }
  run.report(`ca.crt on ${node.name} is from a backup`);
  await repair(node, run);
}

/** With the commands that `status` shows on the node. */
async function repair({ container, name }: KubeadmNode, { report }: Midway): Promise<void> {
  const harmful = async (): Promise<string | undefined> => {
    const { code, stdout } = await container.run('nodecertd', 'ca-rollover', 'status');
    return code === 4 ? stdout : undefined;
  };
  const table = await container.until('status 4', harmful);
  const remedy = /→ .*?(cp \S+ \S+)?(?:; then run: )?(nodecertd ca-rollover apply .*)/;
  const [line = '', copy, command] = remedy.exec(table) ?? [];
  report(`status 4 on ${name}: ${line}`);
  assert.ok(command !== undefined, table);
  if (copy !== undefined) await container.must('bash', '-ec', `${copy}\n${untilAnswered}`);
  await timed(command, report, async () => {
    await container.must('bash', '-ec', `${command} --yes`);
  });
  const after = await container.run('nodecertd', 'ca-rollover', 'status');
  assert.equal(after.code, 3, after.stdout);
}

const untilAnswered = 'until kubectl get --raw /readyz; do sleep 1; done';
