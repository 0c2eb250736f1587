import assert from 'node:assert/strict';
import type { PlanStep } from '../../src/trust/cluster/plan.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import {
  configureTrust,
  copyFiles,
  mustNodecertd,
  nodecertd,
  reissue,
  requireNewCa,
  startTrustCluster,
  syncNodes,
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

/** In the order of the plan: the node with the leading kube-controller-manager comes last. */
async function nodesInOrder(cluster: KubeadmCluster): Promise<KubeadmNode[]> {
  const [first] = cluster.controlPlanes;
  assert.ok(first !== undefined);
  const { stdout } = await mustNodecertd(first, ['ca-rollover', 'plan', '-o', 'json']);
  const { steps } = JSON.parse(stdout) as { readonly steps: readonly PlanStep[] };
  const names = steps.find(({ id }) => id === 'switch')?.blocks.map(({ node }) => node) ?? [];
  return names.map((name) => cluster.node(name));
}

async function rollOver(cluster: KubeadmCluster, report: Report): Promise<void> {
  const nodes = await nodesInOrder(cluster);
  const [first] = nodes;
  assert.ok(first !== undefined);
  // The prober trusts the old CA alone, so the bridge has to keep it connected.
  using prober = await startApiProber(cluster);
  await apply(first, ['create'], report);
  await requireRefused(first, 'switch');
  await copyFiles(first, cluster);
  for (const node of nodes) await apply(node, ['trust'], report);
  await requireNothingToDo(first, ['trust']);
  await syncNodes(cluster);
  await wait(first, 'union', report);
  for (const node of nodes) await apply(node, ['switch'], report);
  await requireNothingToDo(first, ['switch']);
  await requireRefused(first, 'finish', '--old-key', 'keep');
  await reissue(cluster);
  for (const node of nodes) await wait(node, 'droppable', report);
  const { failures, requests } = await prober.stop();
  report(`${requests} new connections with the old CA, ${failures.length} failed`);
  assert.deepEqual(failures, []);
  for (const node of nodes)
    await apply(node, ['finish', '--clients-ok', '--old-key', 'destroy'], report);
  await syncNodes(cluster);
  await cluster.untilReady();
  await mustNodecertd(first, ['ca-rollover', 'status']);
  await requireNewCa(cluster);
}

async function apply(node: KubeadmNode, args: readonly string[], report: Report): Promise<void> {
  const began = performance.now();
  await mustNodecertd(node, ['ca-rollover', 'apply', ...args, '--ca', 'kubernetes', '--yes']);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  report(`${args[0]} on ${node.name}: ${seconds} s`);
  const verified = await nodecertd(node, ['ca-rollover', 'verify']);
  assert.ok([0, 3].includes(verified.code), `${args[0]} on ${node.name}: ${verified.stdout}`);
}

/** Also with --yes. */
async function requireRefused(node: KubeadmNode, ...step: readonly string[]): Promise<void> {
  const args = ['ca-rollover', 'apply', ...step, '--ca', 'kubernetes', '--yes'];
  const { code, stdout, stderr } = await nodecertd(node, args);
  assert.ok([3, 4].includes(code), `${step.join(' ')} on ${node.name}: ${code} ${stdout}${stderr}`);
}

async function requireNothingToDo(node: KubeadmNode, args: readonly string[]): Promise<void> {
  const before = await managerId(node);
  await mustNodecertd(node, ['ca-rollover', 'apply', ...args, '--ca', 'kubernetes', '--yes']);
  assert.equal(await managerId(node), before, 'kube-controller-manager has restarted');
}

async function managerId({ container }: KubeadmNode): Promise<string> {
  return container.must('crictl', 'ps', '--quiet', '--name', 'kube-controller-manager');
}

/** The cluster has no pods that read CAs, and no clients outside. */
async function wait(node: KubeadmNode, goal: string, report: Report): Promise<void> {
  const args = ['ca-rollover', 'wait', '--for', goal, '--timeout', '10m', '--clients-ok'];
  const { stdout } = await mustNodecertd(node, args);
  report(stdout.trimEnd().split('\n').at(-1) ?? '');
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
