import assert from 'node:assert/strict';
import type { PlanStep } from '../../src/trust/cluster/plan.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import {
  mustApply,
  planOf,
  reissue,
  requireConnections,
  requireConsistent,
  runBlock,
  startTrustCluster,
  syncNodes,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Returns to the old CA of a real cluster: after `trust` with `ca-rollover apply abort` on each node, and
 * after `switch` with this command on one node, and with the commands of `ca-rollover plan --abort` on the
 * other one.
 */
export const kubeadmAbort: Scenario = {
  name: 'kubeadm-abort',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 2, workers: 0 });
    const before = await stateOf(cluster);
    using prober = await startApiProber(cluster);
    const rollover = await trusted(cluster, report);
    // The gates need the reports of the agents.
    await syncNodes(cluster);
    await rollover.abort();
    assert.equal(await stateOf(cluster), before);
    await syncNodes(cluster);
    const again = await trusted(cluster, report);
    using later = await startApiProber(cluster);
    await again.union();
    await again.switch();
    await reissue(cluster);
    await returnAfterSwitch(cluster, report);
    await again.requireGreen();
    for (const one of [prober, later]) await requireConnections(one, report);
    await requireOldCa(cluster, before);
    await trusted(cluster, report);
  },
};

/** After the steps `create` and `trust`. */
async function trusted(cluster: KubeadmCluster, report: Report): Promise<AppliedRollover> {
  const rollover = await AppliedRollover.plan(cluster, report);
  await rollover.create();
  await rollover.trust();
  return rollover;
}

/** The first node of the plan uses `apply abort`, and the last one the commands. */
async function returnAfterSwitch(cluster: KubeadmCluster, report: Report): Promise<void> {
  const [any] = cluster.controlPlanes;
  assert.ok(any !== undefined);
  const byHand = await planOf(any, '--abort');
  const last = cluster.node(byHand.at(-1)?.blocks.at(-1)?.node ?? '');
  const first = cluster.controlPlanes.find((node) => node !== last);
  assert.ok(first !== undefined);
  await first.container.must('cp', '/etc/kubernetes/admin.conf', '/run/by-next.conf');
  await mustApply(first, report, 'abort');
  await requireConsistent(first);
  assert.match(await requireRefused(first, 'abort'), /the new CA has issued certificates already/);
  await walk(byHand, 'switch-back', { cluster, report, node: last });
  // A client with a certificate from the new CA still has access.
  await first.container.must('kubectl', '--kubeconfig', '/run/by-next.conf', 'get', 'nodes');
  await reissue(cluster);
  const wait = byHand.find(({ id }) => id === 'droppable')?.blocks[0]?.commands[0] ?? '';
  await first.container.must('bash', '-ec', `${wait.replace('3d', '10m')} --clients-ok`);
  report('the old CA has issued every certificate');
  assert.match(
    await requireRefused(first, 'abort'),
    /G8 droppable: .* certificate from the new CA/,
  );
  await mustApply(first, report, 'abort', '--clients-ok');
  await walk(byHand, 'distrust', { cluster, report, node: last });
  await last.container.must('rm', '-r', '/etc/kubernetes/.nodecertd-rollover');
  await syncNodes(cluster);
}

/** The blocks of one part of a plan for one node. */
async function walk(
  steps: readonly PlanStep[],
  part: string,
  {
    node,
    ...run
  }: { readonly cluster: KubeadmCluster; readonly report: Report; readonly node: KubeadmNode },
): Promise<void> {
  const blocks = steps.find(({ id }) => id === part)?.blocks ?? [];
  const own = blocks.filter((block) => block.node === node.name);
  assert.ok(own.length > 0, part);
  for (const block of own) await runBlock(block, { ...run, id: part });
}

/** Digests of the files of each node, and the objects that a rollover changes. */
async function stateOf({ controlPlanes }: KubeadmCluster): Promise<string> {
  const all = controlPlanes.map(async (node) => `${await filesOf(node)}${await objects(node)}`);
  return (await Promise.all(all)).join('\n');
}

/** Without the mark of the last restart, and without the pairs of the agent. */
async function filesOf({ container }: KubeadmNode): Promise<string> {
  const script = `cd /etc/kubernetes
for file in $(find . -type f -not -path "*/.nodecertd*" -not -name kubelet.conf | sort); do
  echo "$file $(grep -v nodecertd.io/restarted-at $file | sha256sum)"
done`;
  return container.must('bash', '-ec', script);
}

async function objects({ container }: KubeadmNode): Promise<string> {
  const names = ['kubeadm-config', 'extension-apiserver-authentication'];
  const get = [
    ...names.map((name) => `-n kube-system get configmap ${name}`),
    '-n kube-public get configmap cluster-info',
  ];
  const data = '-o "jsonpath={.data.ClusterConfiguration}{.data.client-ca-file}{.data.kubeconfig}"';
  const commands = get.map(
    (one) => `kubectl --kubeconfig /etc/kubernetes/admin.conf ${one} ${data}`,
  );
  return container.must('bash', '-ec', commands.join('\n'));
}

/** Only certificates that the old CA has issued again differ, and kubeadm can renew them. */
async function requireOldCa(cluster: KubeadmCluster, before: string): Promise<void> {
  const after = (await stateOf(cluster)).split('\n');
  const missing = before.split('\n').filter((line) => !after.includes(line));
  const leaf = /^\.\/(pki\/apiserver(-kubelet-client)?\.(crt|key)|[a-z-]+\.conf) /;
  assert.deepEqual(
    missing.filter((line) => !leaf.test(line)),
    [],
  );
  for (const { container } of cluster.controlPlanes) {
    await container.must('bash', '-ec', verification);
    await container.must('kubeadm', 'certs', 'renew', 'all');
    await container.must('kubeadm', 'certs', 'check-expiration');
  }
}

const verification =
  'cd /etc/kubernetes/pki; test "$(ls ca*)" = "$(printf "ca.crt\\nca.key")"; openssl verify -CAfile ca.crt apiserver.crt apiserver-kubelet-client.crt';
