import assert from 'node:assert/strict';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import { ApiWriter } from './etcd-observers.ts';
import { requireWrites } from './kubeadm-etcd.ts';
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
    await walk(rollover, async (cut) => interrupt(cut, { cluster, report, node: rollover.first }));
    await rollover.requireGreen();
  },
};

/**
 * The same with one of three control-plane nodes. While it is off, the other API servers answer and store
 * objects, and the step does not begin on another node.
 */
export const kubeadmPowerCutOfOne: Scenario = {
  name: 'kubeadm-power-cut-of-one',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 3, workers: 0 });
    const rollover = await AppliedRollover.plan(cluster, report);
    const { first: node } = rollover;
    const controlPlanes = cluster.controlPlanes.filter((other) => other !== node);
    const others = { directory: cluster.directory, network: cluster.network, controlPlanes };
    await rollover.create();
    await walk(rollover, async (cut) => {
      // Members of etcd that lose their leader elect another one. This path needs no leader.
      using prober = await startApiProber(others, '/version');
      using writer = await ApiWriter.start(others);
      const meanwhile = async (): Promise<void> => requireService(cut, node, controlPlanes);
      await interrupt(cut, { cluster, report, node, meanwhile });
      const { failures, requests } = await prober.stop();
      report(`${requests} new connections to the other API servers, ${failures.length} failed`);
      assert.deepEqual(failures, []);
      await requireWrites(cluster, writer, report);
    });
    await rollover.requireGreen();
  },
};

/** The step is refused on another node, and the other members of etcd still have a majority. */
async function requireService(
  { step, options }: Cut,
  { name }: KubeadmNode,
  others: readonly KubeadmNode[],
): Promise<void> {
  const [other] = others;
  assert.ok(other !== undefined);
  assert.match(await requireRefused(other, step, ...options), new RegExp(name));
  for (const { name: server, container } of others) {
    const create = ['create', 'configmap', `${step}-without-${name}-on-${server}`];
    await container.must('kubectl', `--server=https://${server}:6443`, ...create);
  }
}

/** All steps after `create`, each of them after an interruption. */
async function walk(
  rollover: AppliedRollover,
  interruptIn: (cut: Cut) => Promise<void>,
): Promise<void> {
  await interruptIn(cuts.trust);
  await rollover.trust();
  await rollover.union();
  await interruptIn(cuts.switch);
  await rollover.switch();
  await rollover.restartServers();
  await rollover.reissue();
  await interruptIn(cuts.finish);
  await rollover.finish();
}

interface Cut {
  readonly step: 'trust' | 'switch' | 'finish';
  readonly options: readonly string[];
  /** The file that has just changed. */
  readonly after: string;
}

/** kube-controller-manager restarts for many seconds after its manifest has changed. */
const cuts = {
  trust: { step: 'trust', options: [], after: 'manifests/kube-controller-manager.yaml' },
  switch: { step: 'switch', options: [], after: 'controller-manager.conf' },
  finish: {
    step: 'finish',
    options: ['--clients-ok', '--old-key', 'destroy'],
    after: 'manifests/kube-controller-manager.yaml',
  },
} as const satisfies Record<Cut['step'], Cut>;

interface CutNode {
  readonly cluster: KubeadmCluster;
  readonly report: Report;
  readonly node: KubeadmNode;
  /** While the node is off. */
  readonly meanwhile?: () => Promise<void>;
}

/** The same command then completes the step, after the administrator has started the node. */
async function interrupt(
  { step, options, after }: Cut,
  { cluster, report, node, meanwhile }: CutNode,
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
    await container.kill();
    await applied;
    await meanwhile?.();
    await container.start();
    await untilAnswering(cluster, node);
  });
  const { code, stdout, stderr } = await apply(node, step, ...options);
  assert.equal(code, 0, `${step}: ${stdout}${stderr}`);
  assert.match(stderr, new RegExp(`the step ${step} was interrupted`));
  report(`${step} on ${node.name} is complete`);
}
