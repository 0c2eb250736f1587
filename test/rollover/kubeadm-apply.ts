import assert from 'node:assert/strict';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import {
  apply,
  configureTrust,
  copyFiles,
  mustApply,
  mustNodecertd,
  planOf,
  reissue,
  requireConnections,
  requireConsistent,
  requireNewCa,
  startTrustCluster,
  syncNodes,
  waitFor,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/** Replaces the CA of a cluster that kubeadm made with `nodecertd ca-rollover apply`, twice. */
export const kubeadmApply: Scenario = {
  name: 'kubeadm-apply',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report);
    await rollOver(cluster, report);
    await joinWorker(cluster);
    report('a worker joined');
    for (const { container } of cluster.controlPlanes) {
      await container.must('kubeadm', 'certs', 'renew', 'all');
    }
    await cluster.untilReady();
    report('kubeadm certs renew all');
    await rollOver(cluster, report);
  },
};

async function nodesInOrder(cluster: KubeadmCluster): Promise<KubeadmNode[]> {
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  const steps = await planOf(first);
  const names = steps.find(({ id }) => id === 'switch')?.blocks.map(({ node }) => node) ?? [];
  return names.map((name) => cluster.node(name));
}

async function rollOver(cluster: KubeadmCluster, report: Report): Promise<void> {
  const nodes = await nodesInOrder(cluster);
  const [first] = nodes;
  assert.ok(first !== undefined);
  using prober = await startApiProber(cluster);
  await mustApply(first, report, 'create');
  await requireConsistent(first);
  await requireRefused(first, 'switch');
  await copyFiles(first, cluster);
  await applyOn(nodes, report, 'trust');
  await requireNothingToDo(first, 'trust');
  await syncNodes(cluster);
  await waitFor(first, 'union', report);
  await applyOn(nodes, report, 'switch');
  await requireNothingToDo(first, 'switch');
  await requireRefused(first, 'finish', '--old-key', 'keep');
  await reissue(cluster);
  for (const node of nodes) await waitFor(node, 'droppable', report);
  await requireConnections(prober, report);
  await applyOn(nodes, report, 'finish', '--clients-ok', '--old-key', 'destroy');
  await syncNodes(cluster);
  await cluster.untilReady();
  await mustNodecertd(first, ['ca-rollover', 'status']);
  await requireNewCa(cluster);
}

async function applyOn(
  nodes: readonly KubeadmNode[],
  report: Report,
  ...args: readonly string[]
): Promise<void> {
  for (const node of nodes) {
    await mustApply(node, report, ...args);
    await requireConsistent(node);
  }
}

/** Also with --yes. */
async function requireRefused(node: KubeadmNode, ...step: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await apply(node, ...step);
  assert.ok([3, 4].includes(code), `${step.join(' ')} on ${node.name}: ${code} ${stdout}${stderr}`);
}

async function requireNothingToDo(node: KubeadmNode, step: string): Promise<void> {
  const before = await managerId(node);
  const { code, stdout, stderr } = await apply(node, step);
  assert.equal(code, 0, `${node.name} ${step}: ${stdout}${stderr}`);
  assert.equal(await managerId(node), before, 'kube-controller-manager has restarted');
}

async function managerId({ container }: KubeadmNode): Promise<string> {
  return container.must('crictl', 'ps', '--quiet', '--name', 'kube-controller-manager');
}

/** With the command that kubeadm prints. */
async function joinWorker(cluster: KubeadmCluster): Promise<void> {
  const [first] = cluster.controlPlanes;
  const worker = await cluster.bootWorker();
  const command = await first?.container.must('kubeadm', 'token', 'create', '--print-join-command');
  await worker.container.must('bash', '-ec', `${command?.trim()} --ignore-preflight-errors=all`);
  await configureTrust(worker);
  await cluster.untilReady();
}
