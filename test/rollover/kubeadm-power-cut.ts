import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover } from './applied-rollover.ts';
import { apply, startTrustCluster, timed, untilAnswering } from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/** Every process of the only control-plane node ends in the middle of each step. */
export const kubeadmPowerCut: Scenario = {
  name: 'kubeadm-power-cut',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 1 });
    const rollover = await AppliedRollover.plan(cluster, report);
    await rollover.create();
    for (const cut of cuts) {
      await interrupt(cut, { cluster, report, node: rollover.first });
      if (cut.step === 'trust') {
        await rollover.trust();
        await rollover.union();
      } else if (cut.step === 'switch') {
        await rollover.switch();
        await rollover.reissue();
      }
    }
    await rollover.finish();
    await rollover.requireGreen();
  },
};

interface Cut {
  readonly step: 'trust' | 'switch' | 'finish';
  readonly options: readonly string[];
  /** The file that has just changed. */
  readonly after: string;
}

/** kube-controller-manager restarts for many seconds after its manifest has changed. */
const cuts: readonly Cut[] = [
  { step: 'trust', options: [], after: 'manifests/kube-controller-manager.yaml' },
  { step: 'switch', options: [], after: 'controller-manager.conf' },
  {
    step: 'finish',
    options: ['--clients-ok', '--old-key', 'destroy'],
    after: 'manifests/kube-controller-manager.yaml',
  },
];

interface CutNode {
  readonly cluster: KubeadmCluster;
  readonly report: Report;
  readonly node: KubeadmNode;
}

/** The same command then completes the step, after the administrator has started the node. */
async function interrupt(
  { step, options, after }: Cut,
  { cluster, report, node }: CutNode,
): Promise<void> {
  const { container } = node;
  const path = `/etc/kubernetes/${after}`;
  const before = await container.read(path);
  const applied = apply(node, step, ...options);
  const hasChanged = async (): Promise<true | undefined> => {
    const text = await container.read(path).catch(() => before);
    return text !== before || undefined;
  };
  await container.until(`a change of ${after}`, hasChanged, 180_000);
  await timed(`power cut of ${node.name} in ${step}`, report, async () => {
    await container.crash();
    await applied;
    await untilAnswering(cluster, node);
  });
  const { code, stdout, stderr } = await apply(node, step, ...options);
  assert.equal(code, 0, `${step}: ${stdout}${stderr}`);
  assert.match(stderr, new RegExp(`the step ${step} was interrupted`));
  report(`${step} on ${node.name} is complete`);
}
