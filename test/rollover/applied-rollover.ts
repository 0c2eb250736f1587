import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import {
  apply,
  copyFiles,
  mustApply,
  mustNodecertd,
  planOf,
  reissue,
  requireConsistent,
  requireNewCa,
  syncNodes,
  waitFor,
} from './kubeadm-rollover.ts';
import type { Report } from './scenario.ts';

/** A rollover of the kubernetes CA with `nodecertd ca-rollover apply`. */
export class AppliedRollover {
  /** In the order of the plan. */
  readonly #nodes: readonly KubeadmNode[];
  readonly first: KubeadmNode;
  readonly #cluster: KubeadmCluster;
  readonly #report: Report;

  private constructor(
    nodes: readonly KubeadmNode[],
    { cluster, report }: { readonly cluster: KubeadmCluster; readonly report: Report },
  ) {
    const [first] = nodes;
    assert.ok(first !== undefined);
    this.#nodes = nodes;
    this.first = first;
    this.#cluster = cluster;
    this.#report = report;
  }

  static async plan(cluster: KubeadmCluster, report: Report): Promise<AppliedRollover> {
    const [any] = cluster.controlPlanes;
    assert.ok(any !== undefined);
    const steps = await planOf(any);
    const blocks = steps.find(({ id }) => id === 'switch')?.blocks ?? [];
    const nodes = blocks.map(({ node }) => cluster.node(node));
    return new AppliedRollover(nodes, { cluster, report });
  }

  /** On the first node, whose files the others get. */
  async create(): Promise<void> {
    await mustApply(this.first, this.#report, 'create');
    await copyFiles(this.first, this.#cluster);
  }

  /** The control plane trusts both CAs. */
  async trust(): Promise<void> {
    await this.#applyOnEach('trust');
  }

  /** One stage back on each node. */
  async abort(): Promise<void> {
    await this.#applyOnEach('abort', '--clients-ok');
  }

  /** Until everything trusts both CAs. */
  async union(): Promise<void> {
    await syncNodes(this.#cluster);
    await waitFor(this.first, 'union', this.#report);
  }

  /** The control plane uses the new CA. */
  async switch(): Promise<void> {
    await this.#applyOnEach('switch');
  }

  /** Until nothing needs the old CA. */
  async reissue(): Promise<void> {
    await reissue(this.#cluster);
    for (const node of this.#nodes) await waitFor(node, 'droppable', this.#report);
  }

  async finish(): Promise<void> {
    await this.#applyOnEach('finish', '--clients-ok', '--old-key', 'destroy');
    await syncNodes(this.#cluster);
    await requireNewCa(this.#cluster);
  }

  /** Every node works, and the cluster has one CA. */
  async requireGreen(): Promise<void> {
    await this.#cluster.untilReady();
    await mustNodecertd(this.first, ['ca-rollover', 'status']);
  }

  async #applyOnEach(...step: readonly string[]): Promise<void> {
    for (const node of this.#nodes) {
      await mustApply(node, this.#report, ...step);
      await requireConsistent(node);
    }
  }
}

/** Also with --yes. */
export async function requireRefused(
  node: KubeadmNode,
  ...step: readonly string[]
): Promise<string> {
  const { code, stdout, stderr } = await apply(node, ...step);
  assert.ok([3, 4].includes(code), `${step.join(' ')} on ${node.name}: ${code} ${stdout}${stderr}`);
  return stdout;
}

export async function requireNothingToDo(node: KubeadmNode, step: string): Promise<void> {
  const before = await managerId(node);
  const { code, stdout, stderr } = await apply(node, step);
  assert.equal(code, 0, `${node.name} ${step}: ${stdout}${stderr}`);
  assert.equal(await managerId(node), before, 'kube-controller-manager has restarted');
}

async function managerId({ container }: KubeadmNode): Promise<string> {
  return container.must('crictl', 'ps', '--quiet', '--name', 'kube-controller-manager');
}
