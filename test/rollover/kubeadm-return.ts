import { X509Certificate } from 'node:crypto';
import { shortFingerprint } from '../../src/core/trust.ts';
import { fingerprintOf } from '../support/agent.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover } from './applied-rollover.ts';
import type { RolloverOptions } from './applied-rollover.ts';
import { startTrustCluster, untilAnswering } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/**
 * A rollover, and a second one that returns to the first CA. The node reboots in the middle of each, so
 * that kube-apiserver has read its files again.
 */
export const kubeadmReturn: Scenario = {
  name: 'kubeadm-return',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 0 });
    const [node] = cluster.controlPlanes;
    if (node === undefined) throw new Error('unreachable');
    const first = await authorityOf(node);
    await node.container.must('bash', '-ec', `mkdir -m 700 ${copy}; cp -p ${authority}.* ${copy}`);
    await rollOver({ cluster, report, rollover: await AppliedRollover.plan(cluster, report) });
    const named = ['--old', await authorityOf(node), '--new', first];
    const options: RolloverOptions = { named };
    const rollover = await AppliedRollover.plan(cluster, report, options);
    await rollOver({ cluster, report, rollover }, '--import', copy);
    if ((await authorityOf(node)) !== first) throw new Error('ca.crt has another CA');
  },
};

const authority = '/etc/kubernetes/pki/ca';
const copy = '/opt/first-ca';

async function authorityOf({ container }: KubeadmNode): Promise<string> {
  const certificate = new X509Certificate(await container.read(`${authority}.crt`));
  return shortFingerprint(fingerprintOf(certificate));
}

interface Round {
  readonly cluster: KubeadmCluster;
  readonly rollover: AppliedRollover;
  readonly report: Report;
}

async function rollOver(
  { cluster, rollover, report }: Round,
  ...create: readonly string[]
): Promise<void> {
  await rollover.create(...create);
  await rollover.trust();
  // Since the first rollover, kubelet.conf has both CAs, so the kubelet of the second one does not restart.
  await rollover.union('--bridge');
  await rollover.switch();
  await rollover.first.container.reboot();
  await untilAnswering(cluster, rollover.first);
  await rollover.reissue();
  await rollover.finish();
  await rollover.requireGreen();
  report('the rollover is complete');
}
