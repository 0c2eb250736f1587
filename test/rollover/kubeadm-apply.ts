import assert from 'node:assert/strict';
import { startApiProber } from '../support/api-prober.ts';
import { staticPods } from '../support/kubeadm-cluster.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { AppliedRollover, requireNothingToDo, requireRefused } from './applied-rollover.ts';
import { useKubeadm } from './kubeadm-afterwards.ts';
import { requireConnections, startTrustCluster } from './kubeadm-rollover.ts';
import type { Scenario } from './scenario.ts';

/**
 * Replaces the CA of a cluster that kubeadm made with `nodecertd ca-rollover apply`. Afterwards the
 * cluster is as kubeadm made it: nodes join, and kubeadm renews its certificates.
 */
export const kubeadmApply: Scenario = {
  name: 'kubeadm-apply',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report);
    const before = await manifestsOf(cluster);
    const rollover = await AppliedRollover.plan(cluster, report);
    const { first } = rollover;
    using prober = await startApiProber(cluster);
    await rollover.create();
    await requireRefused(first, 'switch');
    await rollover.trust();
    await requireNothingToDo(first, 'trust');
    await rollover.union();
    await rollover.switch();
    await requireNothingToDo(first, 'switch');
    await requireRefused(first, 'finish', '--old-key', 'keep');
    await rollover.reissue();
    await requireConnections(prober, report);
    await rollover.finish();
    await rollover.requireGreen();
    assert.deepEqual(await manifestsOf(cluster), before);
    report('the manifests are as before');
    await useKubeadm(cluster, report);
    await rollover.requireGreen();
  },
};

/** Without the annotation of a restart, and with the flags in alphabetical order. */
export async function manifestsOf({
  controlPlanes,
}: KubeadmCluster): Promise<Record<string, string>> {
  const found: [string, string][] = [];
  for (const { name, container } of controlPlanes) {
    for (const pod of staticPods) {
      const text = await container.read(`/etc/kubernetes/manifests/${pod}.yaml`);
      found.push([`${pod} on ${name}`, usualForm(text)]);
    }
  }
  return Object.fromEntries(found);
}

function isFlag(line: string): boolean {
  return /^ +- --/.test(line);
}

function usualForm(manifest: string): string {
  const lines = manifest.split('\n').filter((line) => !line.includes('nodecertd.io/restarted-at'));
  const flags = lines.filter(isFlag).toSorted();
  return lines.map((line) => (isFlag(line) ? flags.shift() : line)).join('\n');
}
