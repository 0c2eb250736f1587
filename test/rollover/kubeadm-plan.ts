import assert from 'node:assert/strict';
import type { PlanBlock, PlanStep } from '../../src/trust/cluster/plan.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import {
  copyFiles,
  mustNodecertd,
  nodecertd,
  reissue,
  requireNewCa,
  startTrustCluster,
  syncNodes,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * Runs the commands of `nodecertd ca-rollover plan` on a cluster that kubeadm made, as an
 * administrator who pastes them does. The CAs of the nodes follow by `nodecertd trust sync`.
 */
export const kubeadmPlan: Scenario = {
  name: 'kubeadm-plan',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report);
    const [first] = cluster.controlPlanes;
    assert.ok(first !== undefined);
    const { stdout } = await mustNodecertd(first, ['ca-rollover', 'plan', '-o', 'json']);
    const { steps } = JSON.parse(stdout) as { readonly steps: readonly PlanStep[] };
    assert.equal((await mustNodecertd(first, ['ca-rollover', 'status'])).code, 0);
    // The prober trusts the old CA alone, so the bridge has to keep it connected.
    using prober = await startApiProber(cluster);
    for (const step of steps) {
      if (step.id === 'finish') {
        const { failures, requests } = await prober.stop();
        report(`${requests} new connections with the old CA, ${failures.length} failed`);
        assert.deepEqual(failures, []);
      }
      await walk(step, { cluster, report });
    }
    await syncNodes(cluster);
    await cluster.untilReady();
    const { code, stdout: table } = await nodecertd(first, ['ca-rollover', 'status']);
    assert.equal(code, 0, table);
    await requireNewCa(cluster);
  },
};

interface Walk {
  readonly cluster: KubeadmCluster;
  readonly report: Report;
}

async function walk({ id, blocks }: PlanStep, { cluster, report }: Walk): Promise<void> {
  const [wait] = blocks;
  if (id === 'union') await syncNodes(cluster);
  if (id === 'droppable') await reissue(cluster);
  if (id === 'union' || id === 'droppable') return waitAs(wait, { cluster, report });
  for (const { node, commands } of blocks) {
    const began = performance.now();
    const here = cluster.node(node);
    // The nodes of this cluster have no SSH.
    const script = commands.filter((command) => !command.startsWith('scp ')).join('\n');
    await here.container.must('bash', '-ec', script);
    if (id === 'create') await copyFiles(here, cluster);
    report(`${id} on ${node}: ${((performance.now() - began) / 1_000).toFixed(1)} s`);
    const verified = await nodecertd(here, ['ca-rollover', 'verify']);
    assert.ok([0, 3].includes(verified.code), `${id} on ${node}: ${verified.stdout}`);
  }
}

/** The cluster has no pods that read CAs, and no clients outside. */
async function waitAs(block: PlanBlock | undefined, { cluster, report }: Walk): Promise<void> {
  assert.ok(block !== undefined);
  const [command = ''] = block.commands;
  const args = command
    .replace(/--timeout \w+/, '--timeout 10m')
    .split(' ')
    .slice(1);
  const { stdout } = await mustNodecertd(cluster.node(block.node), [...args, '--clients-ok']);
  report(stdout.trimEnd().split('\n').at(-1) ?? '');
}
