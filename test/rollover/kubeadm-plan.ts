import assert from 'node:assert/strict';
import type { PlanBlock, PlanStep } from '../../src/trust/cluster/plan.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import {
  copyFiles,
  mustNodecertd,
  planOf,
  reissue,
  requireConnections,
  requireConsistent,
  requireNewCa,
  runBlock,
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
    const steps = await planOf(first);
    await mustNodecertd(first, ['ca-rollover', 'status']);
    using prober = await startApiProber(cluster);
    for (const step of steps) {
      if (step.id === 'finish') await requireConnections(prober, report);
      await walk(step, { cluster, report });
    }
    await syncNodes(cluster);
    await cluster.untilReady();
    await mustNodecertd(first, ['ca-rollover', 'status']);
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
  for (const block of blocks) {
    const here = cluster.node(block.node);
    await runBlock(block, { cluster, report, id });
    if (id === 'create') await copyFiles(here, cluster);
    await requireConsistent(here);
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
