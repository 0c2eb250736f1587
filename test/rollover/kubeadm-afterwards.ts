import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { kubernetesVersion } from '../support/programs.ts';
import { configureTrust, timed } from './kubeadm-rollover.ts';
import type { Report } from './scenario.ts';

/** What an administrator does with kubeadm on a cluster without a rollover: everything works. */
export async function useKubeadm(cluster: KubeadmCluster, report: Report): Promise<void> {
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  const { container } = first;
  await timed('join of a worker', report, async () => joinWorker(cluster, first));
  await timed('join of a control-plane node', report, async () => {
    await joinControlPlane(cluster, first);
  });
  for (const command of upgradeCommands()) {
    await timed(command.join(' '), report, async () => void (await container.must(...command)));
  }
  for (const node of cluster.controlPlanes) await renewAll(node);
  await cluster.untilReady();
  report('kubeadm certs renew all');
}

/** Those that need neither an image that is missing here nor a later version. */
function upgradeCommands(): (readonly string[])[] {
  return [
    ['kubeadm', 'upgrade', 'plan', kubernetesVersion(), ignoreAll],
    ['kubeadm', 'upgrade', 'diff', kubernetesVersion()],
    ['kubeadm', 'upgrade', 'node', 'phase', 'control-plane'],
  ];
}

/** Problems of the machine, and images that are missing here. */
const ignoreAll = '--ignore-preflight-errors=all';

/** With the command that kubeadm prints. */
export async function joinWorker(cluster: KubeadmCluster, first: KubeadmNode): Promise<void> {
  const worker = await cluster.bootNode('worker');
  await join(worker, await joinCommand(first));
  await cluster.untilReady();
}

/**
 * The steps of a rollover have deleted the files that `kubeadm init` uploaded.
 * @param prepare copies files to the node
 */
export async function joinControlPlane(
  cluster: KubeadmCluster,
  first: KubeadmNode,
  prepare?: (node: KubeadmNode) => Promise<void>,
): Promise<KubeadmNode> {
  const node = await cluster.bootNode('control-plane');
  await prepare?.(node);
  const upload = ['init', 'phase', 'upload-certs', '--upload-certs'];
  const output = await first.container.must('kubeadm', ...upload);
  const key = output.trim().split('\n').at(-1) ?? '';
  const flags = `--control-plane --certificate-key ${key} --apiserver-advertise-address ${node.address}`;
  await join(node, `${await joinCommand(first)} ${flags}`);
  await cluster.untilReady();
  return node;
}

async function joinCommand({ container }: KubeadmNode): Promise<string> {
  const command = await container.must('kubeadm', 'token', 'create', '--print-join-command');
  return command.trim();
}

async function join(node: KubeadmNode, command: string): Promise<void> {
  await node.container.must('bash', '-ec', `${command} ${ignoreAll}`);
  await configureTrust(node);
}

async function renewAll({ container }: KubeadmNode): Promise<void> {
  await container.must('kubeadm', 'certs', 'renew', 'all');
  await container.must('kubeadm', 'certs', 'check-expiration');
}
